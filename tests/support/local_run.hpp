// The built ripcord on a local fleet (a folder a host, real processes), as an operator would use it: cheaper than sshds, for tests
// of controllers rather than of links.
#pragma once
#include <string>
#include <vector>

#include "core/base/json.hpp"
#include "core/base/process.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

class LocalRun {
 public:
  // Hosts n-001 ... in two datacenters, and a plan in one stage. The unit "app" sleeps, and is healthy after `healthy`.
  explicit LocalRun(int hosts, int max_parallel = 1, Millis healthy = Millis(100));
  ~LocalRun();  // ends what runs below the folder

  const std::string& folder() const { return dir_.path(); }
  void write(const std::string& path, const std::string& text, unsigned mode = 0644) const { dir_.write(path, text, mode); }
  void write_fleet(const std::vector<std::string>& names) const;
  void write_plan(const std::string& text) const { write("plans/app.yaml", text); }
  void write_unit(const std::string& version, const std::string& more = "") const;  // folder app-<version>
  std::string second_machine();   // another folder, with the same fleet file, hosts and ledger, and a store of its own
  std::vector<std::string> names() const { return names_; }

  Command command(std::vector<std::string> words, const std::string& cwd = "") const;
  RunResult ripcord(std::vector<std::string> words, const std::string& cwd = "", Millis deadline = Millis(120000)) const;
  ProcessId start(std::vector<std::string> words, const std::string& log, const std::string& cwd = "") const;
  static ProcessEnd wait(const ProcessId& id, Millis deadline = Millis(120000));  // killed when it does not end
  std::string output(const std::string& log) const;

  std::string version(const std::string& host) const;          // of the release that current names; "" without one
  std::vector<json::object> journal(const std::string& host) const;
  int count(const std::string& kind) const;                    // journal records of a kind, on all hosts
  int count(const std::string& host, const std::string& kind) const;
  std::string most_activated() const;                          // "" or the operation with more than one ACTIVATED
  bool all_run(const std::string& version) const;

 private:
  TempDir dir_, second_;
  std::vector<std::string> names_;
  Millis healthy_;
};

}  // namespace ripcord::test
