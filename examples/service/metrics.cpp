#include "metrics.hpp"

#include <algorithm>
#include <sstream>

namespace sample {

void Metrics::count(int code, double seconds) {
  std::lock_guard lock(mutex_);
  ++by_code_[code];
  ++buckets_[static_cast<std::size_t>(std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin())];
  seconds_ += seconds;
}

void Metrics::count_log_line() {
  std::lock_guard lock(mutex_);
  ++log_lines_;
}

std::string Metrics::text(const std::string& version) const {
  std::lock_guard lock(mutex_);
  std::ostringstream out;
  out << "# HELP build_info The release that answers.\n# TYPE build_info gauge\nbuild_info{version=\"";
  for (char c : version) out << (c == '"' || c == '\\' ? "\\" : "") << c;
  out << "\"} 1\n# HELP requests_total Requests by status code.\n# TYPE requests_total counter\n";
  for (auto [code, n] : by_code_) out << "requests_total{code=\"" << code << "\"} " << n << "\n";
  out << "# HELP log_lines_total Lines written to the log.\n# TYPE log_lines_total counter\nlog_lines_total " << log_lines_ << "\n";
  out << "# HELP request_seconds Time to answer.\n# TYPE request_seconds histogram\n";
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i) out << "request_seconds_bucket{le=\"" << kBounds[i] << "\"} " << (sum += buckets_[i]) << "\n";
  sum += buckets_.back();
  out << "request_seconds_bucket{le=\"+Inf\"} " << sum << "\nrequest_seconds_sum " << seconds_ << "\nrequest_seconds_count " << sum << "\n";
  return out.str();
}

}  // namespace sample
