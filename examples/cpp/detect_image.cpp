// Detects objects in an image with a whole detector that AOTInductor compiled: torch, but no Python.
//
//   refinedet export --weights best.safetensors --output model.pt2 --aot true
//   detect_image model.pt2 refinedet_ext/_torch_ops.so photo.jpg [score_threshold]
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

void run(const std::string& package, const char* ops, const std::string& file, double score_threshold) {
  // The ops register themselves with torch as they are loaded, before the package that calls them.
  if (dlopen(ops, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    throw std::runtime_error(dlerror());
  }
  if (!std::filesystem::is_regular_file(package)) {
    throw std::runtime_error(package + ": no such file");
  }
  torch::inductor::AOTIModelPackageLoader model(package);
  const auto metadata = model.get_metadata();
  if (!metadata.contains("input_size") || !metadata.contains("batch_size") || !metadata.contains("class_names")) {
    throw std::runtime_error(package + ": expected a package of `refinedet export --aot true`, got another");
  }
  if (metadata.at("batch_size") != "1") {
    throw std::runtime_error(package + ": expected a batch_size of 1, got " + metadata.at("batch_size"));
  }
  const int side = std::stoi(metadata.at("input_size"));
  const auto names = lines_of(metadata.at("class_names"));

  const cv::Mat image = cv::imread(file, cv::IMREAD_COLOR);
  if (image.empty()) {
    throw std::runtime_error(file + ": no such file, or no image");
  }
  cv::Mat resized;
  cv::resize(image, resized, {side, side}, 0, 0, cv::INTER_LINEAR);
  const c10::InferenceMode guard;
  const auto pixels = at::from_blob(resized.data, {1, side, side, 3}, at::kByte).permute({0, 3, 1, 2}).contiguous();

  const auto found = model.run({pixels});  // boxes (1, K, 4), scores (1, K), labels (1, K), count (1,)
  const auto boxes = found[0][0].to(at::kFloat).contiguous(), scores = found[1][0].to(at::kFloat).contiguous();
  const auto labels = found[2][0].contiguous();
  const int64_t count = found[3][0].item<int64_t>();
  for (int64_t i = 0; i < count; ++i) {  // the best score first
    const float* box = boxes.data_ptr<float>() + 4 * i;
    const float score = scores.data_ptr<float>()[i];
    if (score < score_threshold) {
      break;
    }
    const auto label = static_cast<size_t>(labels.data_ptr<int64_t>()[i]);
    const std::string name = label <= names.size() ? names[label - 1] : "class " + std::to_string(label);
    const auto pixel = [](float fraction, int length) { return std::min(std::max(fraction, 0.0F), 1.0F) * length; };
    std::printf("%.2f %.2f %.2f %.2f %.4f %s\n", pixel(box[0], image.cols), pixel(box[1], image.rows),
                pixel(box[2], image.cols), pixel(box[3], image.rows), score, name.c_str());
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
