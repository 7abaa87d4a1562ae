// What a failure says.
#pragma once

#include "scheduler.h"

namespace coh {

inline void Scheduler::fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (!failed_) {
    vsnprintf(failure_, sizeof failure_, format, arguments);
  }
  va_end(arguments);
  failed_ = true;
  go(&main_);
  abort();
}

inline void Scheduler::note_failure(const char* format, const char* detail) {
  if (!failed_) {
    snprintf(failure_, sizeof failure_, format, detail);
  }
  failed_ = true;
}

inline const char* Scheduler::where(const Thread* t) {
  snprintf(where_, sizeof where_, "block (%u,%u,%u) thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z, t->index.x,
           t->index.y, t->index.z);
  return where_;
}

inline std::string Scheduler::report() const {
  constexpr unsigned kMostLines = 8;
  std::string text = failure_;
  char line[256];
  std::vector<bool> seen(count_, false);
  unsigned lines = 0, done = 0;
  for (unsigned i = 0; i < count_; ++i) {
    const Thread& t = threads_[i];
    done += t.state == State::returned;
    if (seen[i] || t.state != State::waiting) {
      continue;
    }
    unsigned alike = 0;
    for (unsigned j = i; j < count_; ++j) {
      const Thread& other = threads_[j];
      if (other.state == State::waiting && other.op == t.op && other.place.line == t.place.line &&
          other.mask == t.mask) {
        seen[j] = true;
        ++alike;
      }
    }
    if (++lines <= kMostLines) {
      snprintf(line, sizeof line, "\n    %u thread(s), first (%u,%u,%u), wait at %s mask 0x%08x, %s:%d", alike,
               t.index.x, t.index.y, t.index.z, name_of(t.op), t.mask, t.place.file, t.place.line);
      text += line;
    }
  }
  snprintf(line, sizeof line, "\n    %u thread(s) of %u have returned", done, count_);
  return text + line;
}

}  // namespace coh
