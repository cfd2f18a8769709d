// What commands stand on: fleet, ledger, store, loop and hosts, each opened by its first use, so that a command needs no more
// than it says (rollback works without a ledger, seal without hosts).
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.hpp"
#include "core/net/ledger_address.hpp"
#include "manifests/release_store.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord::cli {

struct GlobalOptions {
  std::optional<std::string> fleet;  // -f, else $RIPCORD_FLEET, else ./fleet.yaml
  std::string output = "text";
  std::string color = "auto";
  bool quiet = false, help = false, version = false;
};

class Context {
 public:
  Context(GlobalOptions options, Output& out);
  ~Context();

  Output& out() { return out_; }
  Loop& loop() { return loop_; }
  Clock& clock() { return clock_; }
  WallTime now() const { return clock_.wall(); }

  std::string fleet_path() const;
  bool has_fleet_file() const;
  const Fleet& fleet();
  const ReleaseStore& store() { return store_for_writing(); }
  ReleaseStore& store_for_writing();  // without a fleet file: ./.ripcord/store
  // `patience`: how long a database may be away before a call gives up; the first call decides.
  Ledger& ledger(Millis patience = kLedgerPatience);
  // Opens what ledger() is about, on whatever thread calls it. Empty when there is none yet: then none is made.
  std::function<std::unique_ptr<LedgerStore>()> ledger_opener(Millis patience);
  HostPorts& ports();
  HostPorts& more_ports();  // further sessions to the same hosts, for what is asked beside a rollout
  void be_quick(Millis step);  // no step of opening a session takes longer, and many are opened at once; before the first use of ports()
  std::string spool_folder();

  const std::string& who() const { return who_; }
  const std::string& machine() const { return machine_; }
  // For -o FILE of the commands that write one.
  std::optional<std::string> output_file;
  std::string special_format;  // -o named the format that only this command has

  // "ripcord -f demo/fleet.yaml resume storefront": what a person can paste.
  std::string command(const std::string& words) const;

  std::vector<LedgerEntry> entries();                                 // the whole ledger
  std::vector<LedgerEntry> append(std::vector<json::object> bodies);  // durable when it returns

  // Runs a task on the loop to its end.
  void wait(Task<> task) { run_to_end(loop_, std::move(task)); }
  template <class T>
  T wait(Task<T> task) {
    std::optional<T> result;
    run_to_end(loop_, keep(std::move(task), &result));
    return std::move(*result);
  }

 private:
  template <class T>
  static Task<> keep(Task<T> task, std::optional<T>* to) {
    to->emplace(co_await std::move(task));
  }

  GlobalOptions options_;
  Output& out_;
  std::string who_, machine_;
  Loop loop_;
  SystemClock clock_;
  std::optional<Fleet> fleet_;
  std::optional<ReleaseStore> store_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<HostPorts> ports_, more_ports_;
};

// The host program to push: $RIPCORD_HOST_PROGRAM, else ripcord-host beside this executable, else ../lib/ripcord/ripcord-host.
Program find_host_program();
// $RIPCORD_WHO, else $SUDO_USER, else the login name.
std::string person();
std::string machine_name();
// The ledger that a fleet names.
std::unique_ptr<LedgerStore> open_ledger_of(const Fleet& fleet, Millis patience);
// The link that a fleet asks for.
std::unique_ptr<Link> make_link(Loop& loop, Clock& clock, const Fleet& fleet);

}  // namespace ripcord::cli
