// Numbers in the messages of checks. Not for kernel files (see cpu/runtime/level.h).
#pragma once

#include <cstdio>
#include <string>

namespace refinedet {

inline std::string text_of(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", number);
  return text;
}

}  // namespace refinedet
