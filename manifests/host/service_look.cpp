// What can be known about a service without touching it: its main process and its log.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "manifests/host/service.hpp"
#include "manifests/host/service_record.hpp"

namespace ripcord {
namespace {

std::optional<pid_t> pid_of(std::string_view text) {
  pid_t pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || pid <= 1) return std::nullopt;
  return pid;
}

}  // namespace

bool main_process_is_known(const Service& service) {
  return !service.run.empty() || !service.systemd.empty() || !service.pidfile.empty();
}

std::optional<ProcessId> main_process(const ReleaseContext& release, const Service& service) {
  try {
    if (!service.run.empty()) {
      auto noted = noted_process(release.unit, service.name, release.boot_id);
      return noted && is_alive(*noted) ? noted : std::nullopt;
    }
    if (!service.pidfile.empty()) {
      auto path = release.layout.on_host(release.text(service.pidfile, "pidfile of service '" + service.name + "'"));
      auto text = read_file_if_exists(path, 4096);
      auto pid = text ? pid_of(trim(*text)) : std::nullopt;
      return pid ? process_id(*pid) : std::nullopt;
    }
    if (!service.systemd.empty()) {
      auto name = release.text(service.systemd, "systemd of service '" + service.name + "'");
      auto r = run_process(release.command({"systemctl", "show", "--property=MainPID", "--value", "--", name}), Millis(10000));
      auto pid = r.ok() ? pid_of(trim(r.output)) : std::nullopt;
      return pid ? process_id(*pid) : std::nullopt;
    }
  } catch (const Error&) {  // unreadable is unknown: the running check says so
  }
  return std::nullopt;
}

std::string log_file(const ReleaseContext& release, const Service& service) {
  if (!service.log.empty()) return release.layout.on_host(release.text(service.log, "log of service '" + service.name + "'"));
  return service.run.empty() ? "" : release.unit.state + "/logs/" + service.name + ".log";
}

std::string log_tail(const ReleaseContext& release, const Service& service, std::size_t lines) {
  constexpr std::int64_t kRead = 64 * 1024;
  std::string path;
  try {
    path = log_file(release, service);
    if (path.empty()) return "";
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat st {};
    if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return "";
    std::int64_t from = std::max<std::int64_t>(0, st.st_size - kRead);
    std::string text(static_cast<std::size_t>(std::min<std::int64_t>(kRead, st.st_size)), '\0');
    ssize_t n = ::pread(fd.get(), text.data(), text.size(), from);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    text = release.mask(std::move(text), from > 0);
    std::size_t at = text.size();
    if (at > 0 && text[at - 1] == '\n') --at;
    for (; lines > 0; --lines) {
      auto newline = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
      if (newline == std::string::npos) return text;
      at = newline;
    }
    return text.substr(at + 1);
  } catch (const Error& e) {
    return release.mask(e.what());
  }
}

std::string log_tails(const ReleaseContext& release, std::size_t lines) {
  std::string out;
  const auto& services = release.spec.services;
  for (const auto& s : services) {
    std::string tail = log_tail(release, s, lines);
    if (tail.empty()) continue;
    out += services.size() > 1 ? fmt::format("== {}\n{}", s.name, tail) : tail;
    if (out.back() != '\n') out += '\n';
  }
  return out;
}

}  // namespace ripcord
