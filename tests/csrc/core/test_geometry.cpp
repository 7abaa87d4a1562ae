// Overlaps of boxes and their coding against anchors.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "../check.h"
#include "core/box_coding.h"
#include "core/iou.h"

namespace refinedet {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float iou_of(const Box<float>& a, const Box<float>& b) {
  const float forth = iou(a, area(a), b, area(b)), back = iou(b, area(b), a, area(a));
  CHECK(forth == back, "%g one way, %g the other", forth, back);
  return forth;
}

void test_iou() {
  const Box<float> unit{0, 0, 1, 1};
  CHECK(iou_of(unit, unit) == 1.0f);
  CHECK(iou_of(unit, {0, 0, 1, 0.5f}) == 0.5f);
  CHECK(iou_of(unit, {0.25f, 0.25f, 0.75f, 0.75f}) == 0.25f);  // inside
  CHECK(iou_of(unit, {0.5f, 0, 1.5f, 1}) == 0.5f / 1.5f);
  CHECK(iou_of(unit, {1, 0, 2, 1}) == 0.0f);  // a shared edge
  CHECK(iou_of(unit, {1, 1, 2, 2}) == 0.0f);  // a shared corner
  CHECK(iou_of(unit, {3, 3, 4, 4}) == 0.0f);
  CHECK(iou_of(unit, {0.5f, 0.5f, 0.5f, 0.5f}) == 0.0f);  // a point
  CHECK(iou_of({0, 0, 0, 0}, {0, 0, 0, 0}) == 0.0f);      // no union
  CHECK(iou_of({1, 1, 0, 0}, {1, 1, 0, 0}) == 0.0f);      // inverted
  CHECK(iou_of(unit, {1, 1, 0, 0}) == 0.0f);
  CHECK(iou_of(unit, {1, 0, 0, 1}) == 0.0f);  // inverted in x only
  CHECK(iou_of({-kInf, -kInf, kInf, kInf}, {-kInf, -kInf, kInf, kInf}) == 0.0f);
  CHECK(iou_of(unit, {0, 0, kInf, 1}) == 0.0f);
  CHECK(iou_of({0, 0, 1e30f, 1e30f}, {0, 0, 1e30f, 1e30f}) == 0.0f);  // areas beyond float
  for (float Box<float>::* side : {&Box<float>::x1, &Box<float>::y1, &Box<float>::x2, &Box<float>::y2}) {
    Box<float> broken = unit;
    broken.*side = kNan;
    CHECK(iou_of(unit, broken) == 0.0f);
    CHECK(iou_of(broken, broken) == 0.0f);
  }
}

void test_area_and_clip() {
  CHECK(area(Box<float>{1, 2, 4, 6}) == 12.0f);
  CHECK(area(Box<float>{4, 2, 1, 6}) == 0.0f && area(Box<float>{4, 6, 1, 2}) == 0.0f);
  CHECK(std::isnan(area(Box<float>{kNan, 0, 1, 1})));
  const Box<float> c = clip(Box<float>{-1, 0.5f, 3, kInf}, 2.0f, 1.0f);
  CHECK(c.x1 == 0.0f && c.y1 == 0.5f && c.x2 == 2.0f && c.y2 == 1.0f, "%g %g %g %g", c.x1, c.y1, c.x2, c.y2);
  CHECK(std::isnan(clip(Box<float>{kNan, 0, 1, 1}, 1.0f, 1.0f).x1));
}

// What IouTest says is what the IoU says, for boxes of all sizes, on thresholds that are met exactly and others.
void test_iou_test() {
  std::mt19937 engine(7);
  std::uniform_int_distribution<int> grid(0, 6);
  for (const float unit : {1.0f, 0.1f, 1e-22f, 1e-19f, 1e18f, 1e30f}) {
    for (const double t : {-1.0, 0.0, 1e-40, 0.2, 0.25, 1.0 / 3, 0.5, 0.75, 1.0, 3.0}) {
      const IouTest<float> test(t);
      for (int i = 0; i < 2000; ++i) {
        Box<float> box[2];
        for (Box<float>& b : box) {
          const auto side = [&] {
            return grid(engine) == 6 && i % 10 == 0 ? kNan : unit * static_cast<float>(grid(engine));
          };
          b = {side(), side(), side(), side()};
        }
        const auto& [a, b] = box;
        const bool expected = test.everything || (!test.nothing && static_cast<double>(iou_of(a, b)) > t);
        CHECK(test.suppresses(a, test.share_of(a), b, test.share_of(b)) == expected, "%g at %g", iou_of(a, b), t);
      }
    }
  }
}

template <class T>
double difference(const Delta<T>& a, const Delta<T>& b) {
  return std::max({std::fabs(a.x - b.x), std::fabs(a.y - b.y), std::fabs(a.w - b.w), std::fabs(a.h - b.h)});
}

template <class T>
void test_round_trip(double tolerance) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> place(0, 1), side(0.05, 1), delta(-4, 4);
  const Delta<T> variance{T(0.1), T(0.15), T(0.2), T(0.25)};
  for (int i = 0; i < 100000; ++i) {
    const T x = T(place(random)), y = T(place(random));
    const Box<T> anchor{x, y, T(x + side(random)), T(y + side(random))};
    const Delta<T> d{T(delta(random)), T(delta(random)), T(delta(random)), T(delta(random))};
    const Delta<T> again = encode(decode(d, anchor, variance), anchor, variance);
    CHECK(difference(d, again) <= tolerance, "(%g, %g, %g, %g) came back %g away", double(d.x), double(d.y),
          double(d.w), double(d.h), difference(d, again));
  }
}

// A step of `f` along each of its arguments against its gradient; all in double.
void check_gradient(const char* what, double gradient, double step_up, double step_down, double step) {
  const double slope = (step_up - step_down) / (2 * step);
  CHECK(std::fabs(slope - gradient) <= 1e-6 * (1 + std::fabs(slope)), "%s: slope %.9g, gradient %.9g", what, slope,
        gradient);
}

using Numbers = double[4];

Box<double> box_of(const Numbers& n) { return {n[0], n[1], n[2], n[3]}; }
Delta<double> delta_of(const Numbers& n) { return {n[0], n[1], n[2], n[3]}; }

void test_gradients() {
  const Delta<double> variance{0.1, 0.15, 0.2, 0.25};
  const Numbers weight{0.3, -0.7, 1.1, 0.4};
  Numbers box{0.1, 0.2, 0.7, 0.5}, anchor{0.2, 0.1, 0.9, 0.4}, delta{0.5, -1.0, 0.8, -0.3};
  const double step = 1e-6;
  const auto decoded = [&] {
    const Box<double> b = decode(delta_of(delta), box_of(anchor), variance);
    return weight[0] * b.x1 + weight[1] * b.y1 + weight[2] * b.x2 + weight[3] * b.y2;
  };
  const auto encoded = [&] {
    const Delta<double> d = encode(box_of(box), box_of(anchor), variance);
    return weight[0] * d.x + weight[1] * d.y + weight[2] * d.w + weight[3] * d.h;
  };
  const auto slopes = [&](const char* what, Numbers& at, const Numbers& gradient, const auto& f) {
    for (int k = 0; k < 4; ++k) {
      const double here = at[k];
      at[k] = here + step;
      const double up = f();
      at[k] = here - step;
      const double down = f();
      at[k] = here;
      check_gradient(what, gradient[k], up, down, step);
    }
  };
  Delta<double> grad_delta;
  Box<double> grad_box, grad_anchor;
  decode_backward(box_of(weight), delta_of(delta), box_of(anchor), variance, grad_delta, grad_anchor);
  slopes("decode, deltas", delta, {grad_delta.x, grad_delta.y, grad_delta.w, grad_delta.h}, decoded);
  slopes("decode, anchors", anchor, {grad_anchor.x1, grad_anchor.y1, grad_anchor.x2, grad_anchor.y2}, decoded);
  encode_backward(delta_of(weight), box_of(box), box_of(anchor), variance, grad_box, grad_anchor);
  slopes("encode, boxes", box, {grad_box.x1, grad_box.y1, grad_box.x2, grad_box.y2}, encoded);
  slopes("encode, anchors", anchor, {grad_anchor.x1, grad_anchor.y1, grad_anchor.x2, grad_anchor.y2}, encoded);
}

void test_bounds() {
  const Delta<float> variance{0.1f, 0.1f, 0.2f, 0.2f};
  const float big = std::numeric_limits<float>::max();
  for (const float d : {big, -big, kInf, -kInf}) {
    const Box<float> b = decode({d, d, d, d}, {0, 0, 1, 1}, variance);
    CHECK(std::isfinite(b.x1) && std::isfinite(b.y1) && std::isfinite(b.x2) && std::isfinite(b.y2), "delta %g", d);
  }
  const Box<float> point{0.5f, 0.5f, 0.5f, 0.5f}, unit{0, 0, 1, 1}, far{1e9f, 1e9f, 1e9f, 1e9f};
  const Box<float> boxes[] = {point, unit, far, {1, 1, 0, 0}};
  for (const Box<float>& a : boxes) {
    for (const Box<float>& b : boxes) {
      const Delta<float> d = encode(b, a, variance);
      CHECK(std::fabs(d.x) <= 1.001e7f && std::fabs(d.y) <= 1.001e7f, "shift %g %g", d.x, d.y);
      CHECK(std::fabs(d.w) <= 50.001f && std::fabs(d.h) <= 50.001f, "scale %g %g", d.w, d.h);
    }
  }
}

// Anchors and boxes up to the largest number of T: results are finite, gradients are no NaN, and zeros decode to the
// anchor itself.
template <class T>
void test_large_coordinates() {
  const T most = std::numeric_limits<T>::max();
  const T coordinates[] = {-most, -most / 2, T(0), most / 4, most / 2, most / 4 * 3, most};
  const T deltas[] = {-most, T(-3), T(0), T(3), most};
  const Delta<T> variance{T(0.1), T(0.1), T(0.2), T(0.2)};
  const auto finite = [](T a, T b, T c, T d) {
    return std::isfinite(a) && std::isfinite(b) && std::isfinite(c) && std::isfinite(d);
  };
  for (const T low : coordinates) {
    for (const T high : coordinates) {
      const Box<T> anchor{low, T(0), high, T(1)};
      const Box<T> same = decode(Delta<T>{0, 0, 0, 0}, anchor, variance);
      const auto close = [&](T got, T expected) { return std::fabs(got / most - expected / most) <= T(1e-6); };
      CHECK(close(same.x1, low) && close(same.x2, high), "[%g, %g] became [%g, %g]", double(low), double(high),
            double(same.x1), double(same.x2));
      for (const T d : deltas) {
        const Box<T> b = decode(Delta<T>{d, d, d, d}, anchor, variance);
        CHECK(finite(b.x1, b.y1, b.x2, b.y2), "[%g, %g] by %g became [%g, %g]", double(low), double(high), double(d),
              double(b.x1), double(b.x2));
        Delta<T> grad_delta;
        Box<T> grad_anchor;
        decode_backward({T(1e-9), T(1e-9), T(-2e-9), T(1e-9)}, {d, d, d, d}, anchor, variance, grad_delta, grad_anchor);
        CHECK(finite(grad_delta.x, grad_delta.w, grad_anchor.x1, grad_anchor.x2), "gradient at [%g, %g] by %g",
              double(low), double(high), double(d));
      }
      for (const T x1 : coordinates) {
        for (const T x2 : coordinates) {
          const Box<T> box{x1, T(0), x2, T(1)};
          const Delta<T> e = encode(box, anchor, variance);
          CHECK(finite(e.x, e.y, e.w, e.h), "[%g, %g] against [%g, %g]: %g, %g", double(x1), double(x2), double(low),
                double(high), double(e.x), double(e.w));
          Box<T> grad_box, grad_anchor;
          encode_backward(Delta<T>{1, 1, 1, 1}, box, anchor, variance, grad_box, grad_anchor);
          CHECK(finite(grad_box.x1, grad_box.x2, grad_anchor.x1, grad_anchor.x2), "gradient at [%g, %g] and [%g, %g]",
                double(x1), double(x2), double(low), double(high));
        }
      }
    }
  }
}

}  // namespace
}  // namespace refinedet

int main() {
  using namespace refinedet;
  test_iou();
  test_area_and_clip();
  test_iou_test();
  test_round_trip<float>(1e-4);  // a center near 1 is known to 1e-7: over a side of 0.05 and a variance 1e-5
  test_round_trip<double>(1e-12);
  test_gradients();
  test_bounds();
  test_large_coordinates<float>();
  test_large_coordinates<double>();
  return test::report();
}
