// The built ripcord against real sshds, as an operator would use it: a folder with fleet.yaml, plans and unit folders, commands as
// processes with deadlines, and what really lies and runs on the hosts read without ripcord.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/json.hpp"
#include "core/base/process.hpp"
#include "tests/support/sshd_fleet.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

// A unit "web": the sample service, listening on the host's own address.
struct WebUnit {
  std::string version = "1.0";
  std::string config;                  // more lines of config/common/app.conf.tmpl, for example "healthy = false\n"
  std::string yaml;                    // more lines of unit.yaml
  std::string health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 20s\n";
  bool by_action = false;              // started by an action with a short deadline, so that T (the dead-man's) is short
  std::map<std::string, std::string> files;   // more files, by path in the unit's folder
};

inline bool says(const RunResult& run, const std::string& text) { return run.output.find(text) != run.output.npos; }

class FleetRun {
 public:
  explicit FleetRun(SshdFleetOptions options = {}, std::string ssh = "");   // ssh: more keys of fleet.yaml's `ssh:`, "become: sudo, "
  ~FleetRun();

  // The operator's side. Paths are below folder().
  const std::string& folder() const { return work_.path(); }
  void write(const std::string& path, const std::string& text, unsigned mode = 0644) const { work_.write(path, text, mode); }
  void write_unit(const std::string& path, const WebUnit& unit) const;
  void write_plan(const std::string& text) const { write("plans/web.yaml", text); }
  std::string second_folder();         // another machine's: only fleet.yaml, no ledger, no store
  Command command(std::vector<std::string> words, const std::string& cwd = "") const;
  RunResult ripcord(std::vector<std::string> words, const std::string& cwd = "", Millis deadline = Millis(120000)) const;
  ProcessId start(std::vector<std::string> words, const std::string& log) const;  // output is below folder()
  static ProcessEnd wait(const ProcessId& id, Millis deadline = Millis(120000));  // killed when it does not end
  std::string output(const std::string& log) const;

  // The host's side, host 1 ... size().
  int size() const { return hosts.size(); }
  std::string current(int i) const;                      // what the link holds; "" without one
  std::string version(int i) const;                      // "1.0": of the release that current names; "" without one
  std::vector<std::string> services(int i) const;        // executables below /srv that run on the host
  std::string answer(int i, const std::string& path = "/version") const;   // body over http; "" when nobody answers
  std::vector<json::object> journal(int i) const;        // whole lines only
  int count(int i, const std::string& kind) const;       // journal records of a kind
  std::string most_activated(int i) const;               // "" or the operation with more than one ACTIVATED
  std::map<std::string, std::string> snapshot(int i) const;   // every file of unit and unit state: type, mode, size, mtime, ctime, inode
  std::string changed_since(int i, const std::map<std::string, std::string>& before) const;   // lines: what differs from a snapshot
  bool runs(int i, const std::string& version) const;    // current, one service of that release, and it answers with that version
  bool all_run(const std::string& version) const;
  int kill_helpers(int i) const;                         // SIGKILL to every session (not to a dead-man's process); how many there were

  SshdFleet hosts;

 private:
  TempDir work_, second_;
  std::string ssh_;
  std::string home_ = "/var/lib/ripcord";
};

}  // namespace ripcord::test
