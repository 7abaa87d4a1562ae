// float16 and bfloat16 to float and back, against the definition of the formats.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../check.h"
#include "core/dtype.h"

namespace refinedet {
namespace {

// A format of 16 bits: a sign, an exponent, and `mantissa` bits.
struct Format {
  int mantissa;
  int min_exponent;  // of the smallest normal number
  double largest;

  int exponent_bits() const { return 15 - mantissa; }
  bool is_special(uint32_t magnitude) const { return magnitude >> mantissa == (1u << exponent_bits()) - 1; }

  // What the bits mean; they are neither infinity nor NaN.
  double value(uint32_t magnitude) const {
    const uint32_t exponent = magnitude >> mantissa, fraction = magnitude & ((1u << mantissa) - 1);
    const double lead = exponent == 0 ? 0.0 : 1.0;
    const int scale = min_exponent + (exponent == 0 ? 0 : static_cast<int>(exponent) - 1);
    return std::ldexp(lead + std::ldexp(static_cast<double>(fraction), -mantissa), scale);
  }

  // The nearest number of the format, ties to even, and at most the largest.
  double nearest(double x) const {
    int exponent;
    std::frexp(x, &exponent);  // |x| in [2^(exponent-1), 2^exponent)
    const double quantum = std::ldexp(1.0, std::max(exponent - 1, min_exponent) - mantissa);
    const double rounded = std::nearbyint(x / quantum) * quantum;
    return std::copysign(std::min(std::fabs(rounded), largest), x);
  }
};

constexpr Format kHalf{10, -14, 65504.0};
constexpr Format kBFloat16{7, -126, 3.3895313892515355e38};

template <class T>
void test_load(const Format& format) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint32_t magnitude = bits & 0x7fffu;
    const bool negative = bits >> 15 != 0;
    const float got = load(T{static_cast<uint16_t>(bits)});
    const T back = store<T>(got);
    if (!format.is_special(magnitude)) {
      CHECK(got == (negative ? -1 : 1) * format.value(magnitude), "bits %04x are %.9g", bits, got);
      CHECK(back.bits == bits, "bits %04x came back as %04x", bits, back.bits);
    } else if ((magnitude & ((1u << format.mantissa) - 1)) == 0) {
      CHECK(std::isinf(got), "bits %04x are %g", bits, got);
      CHECK(back.bits == bits, "infinity %04x came back as %04x", bits, back.bits);
    } else {
      CHECK(std::isnan(got), "bits %04x are %g", bits, got);
      CHECK(std::isnan(load(back)), "NaN %04x came back as %04x", bits, back.bits);
    }
    CHECK(std::signbit(got) == negative, "bits %04x have the other sign", bits);
  }
}

template <class T>
void check_store(const Format& format, float x) {
  const float got = load(store<T>(x)), expected = static_cast<float>(format.nearest(x));
  CHECK(got == expected && std::signbit(got) == std::signbit(x), "%.9g became %.9g, expected %.9g", x, got, expected);
}

template <class T>
void test_store(const Format& format) {
  const float inf = std::numeric_limits<float>::infinity();
  // between all neighbors of the format: the middle and the floats around it
  for (uint32_t magnitude = 0; !format.is_special(magnitude + 1); ++magnitude) {
    const double low = format.value(magnitude), high = format.value(magnitude + 1);
    const float middle = static_cast<float>((low + high) / 2);
    for (const float x : {std::nextafterf(middle, 0.0f), middle, std::nextafterf(middle, inf)}) {
      check_store<T>(format, x);
      check_store<T>(format, -x);
    }
  }
  // a sample of all finite floats, subnormal ones and those beyond the format among them
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 977) {
    const float x = bits_to_float(static_cast<int32_t>(bits));
    check_store<T>(format, x);
    check_store<T>(format, -x);
  }
  const float largest = static_cast<float>(format.largest);
  CHECK(load(store<T>(std::numeric_limits<float>::max())) == largest);
  CHECK(load(store<T>(std::numeric_limits<float>::lowest())) == -largest);
  CHECK(load(store<T>(inf)) == inf && load(store<T>(-inf)) == -inf);
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    CHECK(std::isnan(load(store<T>(bits_to_float(static_cast<int32_t>(bits))))), "NaN %08x", bits);
  }
}

}  // namespace
}  // namespace refinedet

int main() {
  using namespace refinedet;
  test_load<Half>(kHalf);
  test_store<Half>(kHalf);
  test_load<BFloat16>(kBFloat16);
  test_store<BFloat16>(kBFloat16);
  return test::report();
}
