#include "tests/support/faults.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord::test {
namespace {

namespace fs = std::filesystem;

// strace -ff writes one file a process: LOG.PID.
template <class Visit>
void each_log(const std::string& log, Visit visit) {
  std::error_code ignored;
  for (const auto& e : fs::directory_iterator(parent_dir(log), ignored))
    if (e.is_regular_file() && e.path().string().starts_with(log + ".")) visit(read_file_if_exists(e.path().string()).value_or(""));
}

std::vector<std::string> strace(const Injection& i, const std::string& log, bool threads) {
  std::vector<std::string> words{"/usr/bin/strace", "-qq", "-ff", "-o", log, "-e", "trace=" + i.calls, "-e", "signal=none"};
  // Threads are followed, programs that are started are let go. The helper has one thread, and its dead-man's process is not its.
  if (threads) words.insert(words.end(), {"-f", "-b", "execve"});
  else words.erase(std::find(words.begin(), words.end(), "-ff"));
  if (i.at > 0) {
    auto what = i.error.empty() ? std::string("signal=SIGKILL") : "error=" + i.error;
    words.insert(words.end(), {"-e", fmt::format("inject={}:{}:when={}{}", i.calls, what, i.at, i.for_good ? "+" : "")});
  }
  return words;
}

}  // namespace

bool strace_works() {
  Command c;
  c.argv = {"/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "/bin/true"};
  try {
    return run_process(c, Millis(10000)).ok();
  } catch (const Error&) {
    return false;
  }
}

Command traced_controller(Command command, const Injection& injection, const std::string& log) {
  auto words = strace(injection, log, true);
  words.push_back("--");
  command.argv.insert(command.argv.begin(), words.begin(), words.end());
  return command;
}

std::string traced_helper(const TempDir& folder, const Injection& injection, const std::string& hosts, const std::string& log) {
  std::string real = RIPCORD_BUILD_DIR "/ripcord-host", words;
  for (const auto& word : strace(injection, "\"" + log + ".$$\"", false)) words += word + " ";
  // Once a host, or every session: a host whose every session dies is one that nobody can reach.
  std::string once = injection.for_good || injection.at == 0 ? "true" : "mkdir \"" + log + ".hit.$(echo \"$*\" | tr -c a-zA-Z0-9 _)\" 2>/dev/null";
  std::string script = fmt::format("#!/bin/sh\ncase \"$*\" in *serve*{1}*) {3} && exec {2} -- {0} \"$@\" ;; esac\nexec {0} \"$@\"\n", real, hosts, words, once);
  return folder.write("ripcord-host-traced", script, 0755);
}

std::vector<std::pair<std::string, int>> calls_made(const std::string& log) {
  std::map<std::string, int> most;
  each_log(log, [&](const std::string& text) {
    std::map<std::string, int> here;
    for (const auto& line : split(text, '\n'))
      if (auto end = line.find('('); end != std::string::npos) ++here[line.substr(0, end)];
    for (const auto& [call, n] : here) most[call] = std::max(most[call], n);
  });
  std::vector<std::pair<std::string, int>> out;
  for (const auto& [call, n] : most)
    for (int i = 1; i <= n; ++i) out.emplace_back(call, i);
  return out;
}

int injected(const std::string& log) {
  int n = 0;
  each_log(log, [&](const std::string& text) {
    for (const char* mark : {"(INJECTED", "= ?"})
      for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) ++n;
  });
  return n;
}

}  // namespace ripcord::test
