// Detects objects in an image with a whole detector that AOTInductor compiled: torch, but no Python.
//
//   refinedet export --weights best.safetensors --output model.pt2 --aot true
//   detect_image model.pt2 refinedet_ext/_torch_ops.so photo.jpg [score_threshold]
#include <c10/util/Exception.h>

#include <cstdio>
#include <opencv2/imgcodecs.hpp>
#include <stdexcept>
#include <string>

#include "detector.h"

namespace {

void run(const std::string& package, const char* ops, const std::string& file, double score_threshold) {
  Detector detect(package, ops);
  const cv::Mat image = cv::imread(file, cv::IMREAD_COLOR);
  if (image.empty()) {
    throw std::runtime_error(file + ": no such file, or no image");
  }
  for (const Detection& found : detect(image, score_threshold)) {
    std::printf("%.2f %.2f %.2f %.2f %.4f %s\n", found.x1, found.y1, found.x2, found.y2, found.score,
                found.name.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::fprintf(stderr, "usage: %s package.pt2 _torch_ops.so image [score_threshold]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argc == 5 ? std::stod(argv[4]) : 0.5);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "detect_image: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "detect_image: %s\n", error.what());
    return 1;
  }
  return 0;
}
