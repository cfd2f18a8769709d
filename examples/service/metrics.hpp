// What the sample service counts, in Prometheus's text format.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace sample {

class Metrics {
 public:
  void count(int code, double seconds);
  void count_log_line();
  std::string text(const std::string& version) const;

 private:
  static constexpr std::array<double, 8> kBounds{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5};
  mutable std::mutex mutex_;
  std::map<int, std::uint64_t> by_code_;
  std::array<std::uint64_t, kBounds.size() + 1> buckets_{};  // the last one: above all bounds
  double seconds_ = 0;
  std::uint64_t log_lines_ = 0;
};

}  // namespace sample
