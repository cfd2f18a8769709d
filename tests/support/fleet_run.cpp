#include "tests/support/fleet_run.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord::test {
namespace {

namespace fs = std::filesystem;
constexpr int kPort = 7101;

std::string fleet_file(const SshdFleet& hosts, const std::string& ssh) {
  auto text = fmt::format(
      "fleet: test\nssh: {{{}port: {}, identity: {}/keys/id_ed25519, known_hosts: {}{}}}\n"
      "labels: {{role: web}}\ndatacenters:\n",
      ssh.find("user:") == ssh.npos ? "user: root, " + ssh : ssh, hosts.port(), hosts.folder(), hosts.known_hosts(),
      ssh.find("timeouts:") == ssh.npos ? ", timeouts: {connect: 2s, handshake: 3s, auth: 3s}" : "");
  const int dcs = std::min(3, hosts.size());
  for (int d = 1; d <= dcs; ++d) {
    text += fmt::format("  dc{}:\n    hosts:\n", d);
    for (int i = d; i <= hosts.size(); i += dcs) text += fmt::format("      {}: {{address: {}}}\n", hosts.name(i), hosts.address(i));
  }
  return text;
}

}  // namespace

FleetRun::FleetRun(SshdFleetOptions options, std::string ssh) : hosts(std::move(options)), ssh_(std::move(ssh)) {
  write("fleet.yaml", fleet_file(hosts, ssh_));
  write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\n");
}

FleetRun::~FleetRun() = default;

std::string FleetRun::second_folder() {
  second_.write("fleet.yaml", fleet_file(hosts, ssh_));
  return second_.path();
}

void FleetRun::write_unit(const std::string& path, const WebUnit& unit) const {
  static const std::string kProgram = read_file(RIPCORD_BUILD_DIR "/sample-service");
  std::string yaml = fmt::format("unit: web\nversion: \"{}\"\nhosts: all\nservices:\n  - name: web\n", unit.version);
  if (unit.by_action) {
    // The start script leaves the session of the hook, as programs that stay have to.
    yaml += "    start: {run: [bin/start], deadline: 3s}\n    stop: {run: [bin/stop], deadline: 2s}\n    pidfile: \"${shared}/pid/web\"\n";
    write(path + "/code/bin/start", "#!/bin/sh\nsetsid bin/sample-service --config config/app.conf </dev/null >/dev/null 2>&1 &\n", 0755);
    write(path + "/code/bin/stop",
          "#!/bin/sh\npid=$(cat \"$RIPCORD_SHARED/pid/web\" 2>/dev/null) || exit 0\nkill \"$pid\" 2>/dev/null || exit 0\n"
          "while kill -0 \"$pid\" 2>/dev/null; do sleep 0.05; done\n", 0755);
    yaml += "persist: [pid]\n";
  } else {
    yaml += "    run: [bin/sample-service, --config, config/app.conf]\n    stop_deadline: 3s\n";
  }
  yaml += unit.yaml;
  yaml += fmt::format("health:\n  checks:\n    - http: \"http://${{address}}:{}/healthz\"\n      timeout: 2s\n{}", kPort, unit.health);
  write(path + "/unit.yaml", yaml);
  write(path + "/code/bin/sample-service", kProgram, 0755);
  write(path + "/config/common/app.conf.tmpl",
        fmt::format("listen = ${{address}}:{}\nversion = ${{version}}\n{}{}", kPort, unit.by_action ? "pidfile = pid/web\n" : "", unit.config));
  for (const auto& [name, text] : unit.files) write(path + "/" + name, text);
}

Command FleetRun::command(std::vector<std::string> words, const std::string& cwd) const {
  Command c;
  c.argv = std::move(words);
  c.argv.insert(c.argv.begin(), RIPCORD_BUILD_DIR "/ripcord");
  c.cwd = cwd.empty() ? folder() : cwd;
  c.env = std::vector<std::string>{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + folder(), "RIPCORD_WHO=ana", "TZ=UTC"};
  return c;
}

RunResult FleetRun::ripcord(std::vector<std::string> words, const std::string& cwd, Millis deadline) const {
  return run_process(command(std::move(words), cwd), deadline, 1 << 20);
}

ProcessId FleetRun::start(std::vector<std::string> words, const std::string& log) const {
  auto c = command(std::move(words));
  return start_detached(c, folder() + "/" + log);
}

ProcessEnd FleetRun::wait(const ProcessId& id, Millis deadline) {
  for (Elapsed until = boot_now() + deadline;; ::usleep(5000)) {
    if (auto end = reap(id.pid)) return *end;
    if (boot_now() > until) ::kill(id.pid, SIGKILL);
  }
}

std::string FleetRun::output(const std::string& log) const { return read_file_if_exists(folder() + "/" + log).value_or(""); }

std::string FleetRun::current(int i) const { return read_link(hosts.seen(i, "/srv/web/current")).value_or(""); }

std::string FleetRun::version(int i) const {
  auto name = fs::path(current(i)).filename().string();
  return name.substr(0, name.rfind('-'));
}

std::vector<std::string> FleetRun::services(int i) const {
  std::vector<std::string> out;
  for (pid_t pid : hosts.processes(i)) {
    auto exe = read_link(fmt::format("/proc/{}/exe", pid)).value_or("");
    if (exe.starts_with("/srv/")) out.push_back(exe);
  }
  return out;
}

std::string FleetRun::answer(int i, const std::string& path) const {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(kPort);
  ::inet_pton(AF_INET, hosts.address(i).c_str(), &to.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return "";
  auto request = fmt::format("GET {} HTTP/1.0\r\n\r\n", path);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
  auto body = said.find("\r\n\r\n");
  return body == said.npos ? "" : said.substr(body + 4);
}

std::vector<json::object> FleetRun::journal(int i) const {
  std::vector<json::object> out;
  auto text = read_file_if_exists(hosts.seen(i, home_ + "/units/web/journal")).value_or("");
  text.resize(text.rfind('\n') == text.npos ? 0 : text.rfind('\n'));
  for (const auto& line : split(text, '\n'))
    if (!line.empty()) out.push_back(parse_json_object(line, "journal"));
  return out;
}

int FleetRun::count(int i, const std::string& kind) const {
  int n = 0;
  for (const auto& record : journal(i)) n += get_string(record, "kind") == kind;
  return n;
}

std::string FleetRun::most_activated(int i) const {
  std::set<std::string> seen;
  for (const auto& record : journal(i))
    if (get_string(record, "kind") == "ACTIVATED" && !seen.insert(get_string(record, "op")).second) return get_string(record, "op");
  return "";
}

std::map<std::string, std::string> FleetRun::snapshot(int i) const {
  std::map<std::string, std::string> out;
  for (const auto& root : {hosts.seen(i, "/srv/web"), hosts.seen(i, home_ + "/units/web")}) {
    if (!exists(root)) continue;
    auto note = [&](const fs::path& path) {
      struct stat s {};
      if (::lstat(path.c_str(), &s) != 0) return;
      out[path.string()] = fmt::format("{:o} {} {}.{:09} {}.{:09} {}", s.st_mode, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec,
                                       s.st_ctim.tv_sec, s.st_ctim.tv_nsec, s.st_ino);
    };
    note(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) note(entry.path());
  }
  // A service writes its own log.
  std::erase_if(out, [](const auto& item) { return item.first.find("/logs/") != std::string::npos; });
  return out;
}

std::string FleetRun::changed_since(int i, const std::map<std::string, std::string>& before) const {
  std::string out;
  auto now = snapshot(i);
  for (const auto& [path, what] : before)
    if (!now.contains(path)) out += path + " is gone\n";
    else if (now[path] != what) out += path + ": " + what + " -> " + now[path] + "\n";
  for (const auto& [path, what] : now)
    if (!before.contains(path)) out += path + " is new\n";
  return out;
}

bool FleetRun::runs(int i, const std::string& wanted) const {
  auto running = services(i);
  return version(i) == wanted && running.size() == 1 && running[0].starts_with("/srv/web/" + current(i) + "/") && answer(i) == wanted + "\n";
}

bool FleetRun::all_run(const std::string& wanted) const {
  for (int i = 1; i <= size(); ++i)
    if (!runs(i, wanted)) return false;
  return true;
}

int FleetRun::kill_helpers(int i) const {
  int killed = 0;
  for (pid_t pid : hosts.processes(i)) {
    auto command = read_file_if_exists(fmt::format("/proc/{}/cmdline", pid)).value_or("");
    if (command.find("/ripcord-host") != command.npos && command.find("serve") != command.npos) killed += ::kill(pid, SIGKILL) == 0;
  }
  return killed;
}

}  // namespace ripcord::test
