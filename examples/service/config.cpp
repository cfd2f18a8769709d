#include "config.hpp"

#include <unistd.h>

#include <climits>
#include <fstream>
#include <functional>
#include <stdexcept>

namespace sample {
namespace {

std::string trimmed(const std::string& text) {
  auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

int number(const std::string& text, int max) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos || std::stoi(text) > max)
    throw std::runtime_error("'" + text + "' is not a number from 0 to " + std::to_string(max));
  return std::stoi(text);
}

std::string version_beside_binary() {
  char path[PATH_MAX];
  ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0) return "unknown";
  std::string folder(path, static_cast<std::size_t>(n));
  for (int up = 0; up < 2; ++up) {
    folder = folder.substr(0, folder.rfind('/'));
    std::ifstream file(folder + "/VERSION");
    std::string line;
    if (std::getline(file, line) && !trimmed(line).empty()) return trimmed(line);
  }
  return "unknown";
}

}  // namespace

Config load_config(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  Config config;
  const std::map<std::string, std::function<void(const std::string&)>> keys{
      {"listen",
       [&](const std::string& v) {
         auto colon = v.rfind(':');
         if (colon == std::string::npos) throw std::runtime_error("'" + v + "' is not ADDRESS:PORT");
         config.address = v.substr(0, colon);
         config.port = number(v.substr(colon + 1), 65535);
       }},
      {"version", [&](const std::string& v) { config.version = v; }},
      {"log", [&](const std::string& v) { config.log = v; }},
      {"pidfile", [&](const std::string& v) { config.pidfile = v; }},
      {"healthy",
       [&](const std::string& v) {
         if (v != "true" && v != "false") throw std::runtime_error("'" + v + "' is not true or false");
         config.healthy = v == "true";
       }},
      {"fail_percent", [&](const std::string& v) { config.fail_percent = number(v, 100); }},
      {"latency_ms", [&](const std::string& v) { config.latency_ms = number(v, 60000); }},
      {"start_delay_ms", [&](const std::string& v) { config.start_delay_ms = number(v, 600000); }},
      {"crash_after_s", [&](const std::string& v) { config.crash_after_s = number(v, 1000000); }},
      {"log_lines_per_request", [&](const std::string& v) { config.log_lines_per_request = number(v, 10000); }},
  };
  std::string line;
  for (int at = 1; std::getline(file, line); ++at) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    auto where = path + ":" + std::to_string(at) + ": ";
    auto equals = line.find('=');
    if (equals == std::string::npos) throw std::runtime_error(where + "no '='");
    auto key = keys.find(trimmed(line.substr(0, equals)));
    if (key == keys.end()) throw std::runtime_error(where + "unknown key '" + trimmed(line.substr(0, equals)) + "'");
    try {
      key->second(trimmed(line.substr(equals + 1)));
    } catch (const std::runtime_error& e) {
      throw std::runtime_error(where + e.what());
    }
  }
  if (config.version.empty()) config.version = version_beside_binary();
  return config;
}

}  // namespace sample
