// A detector that AOTInductor compiled (`refinedet export --aot true`), from an image to detections: torch, no Python.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <filesystem>
#include <opencv2/imgproc.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Detection {
  float x1, y1, x2, y2;  // pixels of the image
  float score;
  std::string name;
};

class Detector {
 public:
  // ops: refinedet_ext/_torch_ops.so.
  Detector(const std::string& package, const char* ops) : model_(loadable(package, ops)) {
    auto metadata = model_.get_metadata();
    if (!metadata.contains("input_size") || !metadata.contains("batch_size") || !metadata.contains("class_names")) {
      throw std::runtime_error(package + ": expected a package of `refinedet export --aot true`, got another");
    }
    if (metadata["batch_size"] != "1") {
      throw std::runtime_error(package + ": expected a batch_size of 1, got " + metadata["batch_size"]);
    }
    side_ = std::stoi(metadata["input_size"]);
    std::istringstream lines(metadata["class_names"]);
    for (std::string name; std::getline(lines, name);) {
      names_.push_back(name);
    }
  }

  // image: as OpenCV reads it, 3 channels of 8 bits. The best score first, down to score_threshold.
  std::vector<Detection> operator()(const cv::Mat& image, double score_threshold) {
    cv::Mat resized;
    cv::resize(image, resized, {side_, side_}, 0, 0, cv::INTER_LINEAR);
    const c10::InferenceMode guard;
    const auto pixels = at::from_blob(resized.data, {1, side_, side_, 3}, at::kByte).permute({0, 3, 1, 2}).contiguous();
    const auto out = model_.run({pixels});  // boxes (1, K, 4), scores (1, K), labels (1, K), count (1,)
    const auto boxes = out[0][0].to(at::kFloat).contiguous(), scores = out[1][0].to(at::kFloat).contiguous();
    const auto labels = out[2][0].contiguous();
    const auto pixel = [](float fraction, int length) { return std::min(std::max(fraction, 0.0F), 1.0F) * length; };
    std::vector<Detection> found;
    for (int64_t i = 0; i < out[3][0].item<int64_t>() && scores.data_ptr<float>()[i] >= score_threshold; ++i) {
      const float* box = boxes.data_ptr<float>() + 4 * i;
      const auto label = static_cast<size_t>(labels.data_ptr<int64_t>()[i]);
      found.push_back({pixel(box[0], image.cols), pixel(box[1], image.rows), pixel(box[2], image.cols),
                       pixel(box[3], image.rows), scores.data_ptr<float>()[i],
                       label <= names_.size() ? names_[label - 1] : "class " + std::to_string(label)});
    }
    return found;
  }

 private:
  static const std::string& loadable(const std::string& package, const char* ops) {
    // The ops register themselves with torch as they are loaded, before the package that calls them.
    if (dlopen(ops, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      throw std::runtime_error(dlerror());
    }
    if (!std::filesystem::is_regular_file(package)) {
      throw std::runtime_error(package + ": no such file");
    }
    return package;
  }

  torch::inductor::AOTIModelPackageLoader model_;
  int side_ = 0;
  std::vector<std::string> names_;
};
