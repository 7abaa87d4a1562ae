// exp and log of csrc/core/math.h against the C library in double precision.
#include <cmath>
#include <limits>

#include "../check.h"
#include "core/math.h"

namespace refinedet {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// In units in the last place of the float next to the exact value.
double error_in_ulp(float got, double exact) {
  const float near = std::fabs(static_cast<float>(exact));
  const double ulp = static_cast<double>(std::nextafterf(near, kInf)) - near;
  return std::fabs(got - exact) / ulp;
}

// Every `step`-th float from `low` to `high`, both positive, and `high` itself.
template <class F>
void for_floats(float low, float high, int32_t step, const F& f) {
  for (int32_t bits = float_to_bits(low); bits < float_to_bits(high); bits += step) {
    f(bits_to_float(bits));
  }
  f(high);
}

void test_exp() {
  for_floats(1e-30f, 87.0f, 211, [](float x) {
    for (const float signed_x : {x, -x}) {
      const float got = exp_bounded(signed_x);
      CHECK(error_in_ulp(got, std::exp(static_cast<double>(signed_x))) <= 2.0, "exp(%.9g) = %.9g", signed_x, got);
    }
  });
  CHECK(exp_bounded(0.0f) == 1.0f && exp_bounded(-0.0f) == 1.0f);
  CHECK(std::isnan(exp_bounded(kNan)));
  CHECK(exp_bounded(1.5) == std::exp(1.5));
}

void test_log() {
  const auto check = [](float x) {
    const float got = log_positive(x);
    const double exact = std::log(static_cast<double>(x));
    CHECK(x == 1.0f ? got == 0.0f : error_in_ulp(got, exact) <= 2.0, "log(%.9g) = %.9g", x, got);
  };
  for_floats(std::numeric_limits<float>::min(), std::numeric_limits<float>::max(), 499, check);
  for_floats(0.99f, 1.01f, 1, check);  // where the result is small
  CHECK(std::isnan(log_positive(kNan)));
  CHECK(log_positive(kInf) > 87.0f);
  CHECK(log_positive(0.0f) < -87.0f);
  CHECK(log_positive(1.5) == std::log(1.5));
}

void test_min_max_clamp() {
  CHECK(min2(1, 2) == 1 && max2(1, 2) == 2);
  CHECK(min2(kNan, 1.0f) == 1.0f && max2(kNan, 1.0f) == 1.0f);          // the second argument
  CHECK(std::isnan(min2(1.0f, kNan)) && std::isnan(max2(1.0f, kNan)));  // likewise
  CHECK(clamp(-2.0f, -1.0f, 1.0f) == -1.0f && clamp(2.0f, -1.0f, 1.0f) == 1.0f);
  CHECK(clamp(0.5f, -1.0f, 1.0f) == 0.5f && clamp(kInf, -1.0f, 1.0f) == 1.0f);
  CHECK(std::isnan(clamp(kNan, -1.0f, 1.0f)));
}

}  // namespace
}  // namespace refinedet

int main() {
  refinedet::test_exp();
  refinedet::test_log();
  refinedet::test_min_max_clamp();
  return refinedet::test::report();
}
