// The sample service's config: `key = value` lines, # comments. Everything the service does is decided here, so that a release
// can be good, slow, broken or crashing by its config alone.
#pragma once
#include <map>
#include <string>

namespace sample {

struct Config {
  std::string address = "127.0.0.1";
  int port = 8080;
  std::string version;            // empty: the file VERSION beside the binary, or in the folder above
  std::string log, pidfile;       // empty log: standard error
  bool healthy = true;            // false: /healthz answers 500
  int fail_percent = 0;           // of requests other than /healthz, /version, /metrics
  int latency_ms = 0;             // of the same requests
  int start_delay_ms = 0;         // before it listens
  int crash_after_s = 0;          // 0: never; otherwise abort() after this long
  int log_lines_per_request = 1;
};

// Throws std::runtime_error("FILE:LINE: what").
Config load_config(const std::string& path);

}  // namespace sample
