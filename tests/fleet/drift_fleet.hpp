// A fleet whose unit "web" has files of every kind, for what is done to them behind ripcord's back.
#pragma once
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

namespace ripcord::test {

inline WebUnit drift_web(const std::string& version, const std::string& more = "") {
  WebUnit unit;
  unit.version = version;
  unit.yaml = "files:\n  - {from: config/extra.conf, to: /etc/app/extra.conf, mode: 0640}\n" + more;
  unit.files = {{"code/lib/a", "aaaa"}, {"code/lib/b", "bbbb"}, {"code/lib/c", "cccc"}, {"code/lib/d", "dddd"}, {"code/lib/e", "eeee"},
                {"code/lib/f", "ffff"}, {"code/lib/g", "gggg"}, {"code/lib/sub/h", "hhhh"}, {"config/common/extra.conf", "level = 1\n"}};
  return unit;
}

struct DriftFleet : FleetRun {
  // by_action: one release only, started by an action with a pidfile.
  explicit DriftFleet(int how_many, bool by_action = false) : FleetRun({.hosts = how_many}) {
    for (const char* version : {"1.0", "1.1"}) {
      if (by_action && version == std::string("1.0")) continue;
      auto unit = drift_web(version);
      unit.by_action = by_action;
      write_unit(version, unit);
      std::filesystem::create_symlink("a", folder() + "/" + version + "/code/lib/link");
      auto applied = ripcord({"apply", std::string(version) + "/", "-y"});
      INFO(applied.output);
      REQUIRE(applied.exit == 0);
    }
  }
  std::string at(int i, const std::string& path) const { return hosts.seen(i, "/srv/web/" + current(i) + "/" + path); }
  // A process of the host's own, without a terminal. It ends with the host.
  void run_on(int i, const std::string& script) const {
    Command c;
    c.argv = {"nsenter", "-t", std::to_string(hosts.init(i)), "-m", "-p", "--", "/bin/sh", "-c", script};
    start_detached(c, "");
  }
  // Trees that somebody had edited before they were put right.
  std::vector<std::string> kept(int i) const {
    std::vector<std::string> out;
    for (const auto& e : std::filesystem::directory_iterator(hosts.seen(i, "/srv/web/releases")))
      if (e.path().filename().string().starts_with(".damaged-")) out.push_back(e.path().string());
    return out;
  }
  // The release of that version, whether it runs or not.
  std::string release(int i, const std::string& version) const {
    for (const auto& e : std::filesystem::directory_iterator(hosts.seen(i, "/srv/web/releases")))
      if (e.path().filename().string().starts_with(version + "-")) return e.path().string();
    return "";
  }
  void end_service(int i) const {
    for (pid_t pid : hosts.processes(i))
      if (read_link("/proc/" + std::to_string(pid) + "/exe").value_or("").starts_with("/srv/")) ::kill(pid, SIGKILL);
  }
  json::object scan(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"drift", "-o", "json", "-q"});
    auto r = ripcord(options);
    INFO(r.output);
    auto o = parse_json_object(r.output, "drift");
    CHECK(get_int(o, "exit") == r.exit);
    return o;
  }
  // "host kind path" of every finding, one a line.
  static std::string found(const json::object& o) {
    std::vector<std::string> lines;
    for (const auto& v : get_array(o, "findings")) {
      const auto& f = v.as_object();
      auto path = get_string(f, "path");
      lines.push_back(get_string(f, "host") + " " + get_string(f, "kind") + (path.empty() ? "" : " " + path));
    }
    std::sort(lines.begin(), lines.end());
    return join(lines, "\n");
  }
  static std::string state(const json::object& o, const std::string& host) {
    for (const auto& h : get_array(o, "hosts"))
      if (get_string(h.as_object(), "host") == host) return get_string(h.as_object(), "state");
    return "";
  }
};

inline void put(const std::string& path, const std::string& text) { write_file_durable(path, text, 0644); }

}  // namespace ripcord::test
