// Runs every case; with --schedules once per way of scheduling threads and blocks, else as the environment says; with
// --first-failure up to the first run that fails.
// Arguments that are no options choose cases by a part of their names.
#include "harness.h"

using namespace refinedet::harness;

namespace {

struct Schedule {
  std::string name;
  coh::Options options;
};

std::vector<Schedule> schedules() {
  const coh::Options standard = coh::options();
  std::vector<Schedule> all{{"forward", standard}};
  coh::Options o = standard;
  o.order = coh::Reverse;
  o.fill = 0x00;
  all.push_back({"reverse, shared memory zeroed", o});
  o = standard;
  o.workers = 2;
  o.yield_percent = 20;
  all.push_back({"two workers, yielding at atomics", o});
  for (int seed = 1; seed <= 3; ++seed) {
    o = standard;
    o.order = coh::Random;
    o.seed = static_cast<uint64_t>(seed);
    o.workers = 1 + seed % 2;
    all.push_back({"random " + std::to_string(seed), o});
  }
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  bool all_schedules = false, first_failure = false;
  std::vector<std::string> wanted;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--schedules") {
      all_schedules = true;
    } else if (argument == "--first-failure") {
      first_failure = true;
    } else {
      wanted.push_back(argument);
    }
  }
  const std::vector<Schedule> ways = all_schedules ? schedules() : std::vector<Schedule>{{"", coh::options()}};
  int ran = 0;
  for (const Case& test : cases()) {
    bool chosen = wanted.empty();
    for (const std::string& part : wanted) {
      chosen = chosen || test.name.find(part) != std::string::npos;
    }
    for (size_t i = 0; chosen && i < ways.size() && !(first_failure && failures > 0); ++i) {
      coh::options() = ways[i].options;
      const int before = failures;
      try {
        test.run();
      } catch (const std::exception& error) {
        ++failures;
        printf("FAIL %s\n", error.what());
      }
      ++ran;
      if (failures > before) {
        printf("FAIL in %s (%s)\n", test.name.c_str(), ways[i].name.c_str());
      }
    }
  }
  printf("%d runs of cases, %d failures\n", ran, failures);
  return failures > 0 || ran == 0 ? 1 : 0;
}
