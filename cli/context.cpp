#include "cli/context.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "plans/hosts/wire_host.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/spool.hpp"

namespace ripcord::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::string person() {
  for (const char* name : {"RIPCORD_WHO", "SUDO_USER"})
    if (auto who = environment(name); !who.empty()) return who;
  passwd entry{}, *found = nullptr;
  char buffer[4096];
  if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found) return found->pw_name;
  return fmt::format("uid-{}", getuid());
}

std::string machine_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "unknown";
}

Program find_host_program() {
  std::vector<std::string> places;
  if (auto given = environment("RIPCORD_HOST_PROGRAM"); !given.empty()) {
    places.push_back(given);
  } else {
    auto self = parent_dir(read_link("/proc/self/exe").value_or("/usr/bin/ripcord"));
    places = {self + "/ripcord-host", self + "/../lib/ripcord/ripcord-host"};
  }
  for (const auto& place : places)
    if (::access(place.c_str(), R_OK) == 0) return {sha256(read_file(place)), place};
  throw Error(fmt::format("the host program 'ripcord-host' is not at {}", join(places, " nor at ")),
              "build or install it beside ripcord, or name it in RIPCORD_HOST_PROGRAM");
}

Context::Context(GlobalOptions options, Output& out)
    : options_(std::move(options)), out_(out), who_(person()), machine_(machine_name()), clock_(loop_) {
  if (options_.fleet) out_.program += " -f " + shell_quote(*options_.fleet);
}

// What was cancelled comes to its end while everything it stands on is still there.
Context::~Context() {
  try {
    if (loop_.stopped()) loop_.restart();
    loop_.poll();
  } catch (...) {  // nobody waits for it any more
  }
}

std::string Context::fleet_path() const {
  if (options_.fleet) return *options_.fleet;
  auto from_environment = environment("RIPCORD_FLEET");
  return from_environment.empty() ? "fleet.yaml" : from_environment;
}

bool Context::has_fleet_file() const { return exists(fleet_path()); }

const Fleet& Context::fleet() {
  if (fleet_) return *fleet_;
  if (!has_fleet_file())
    throw Error(fmt::format("there is no fleet file '{}'", fleet_path()),
                "name it with -f FILE or RIPCORD_FLEET, or make an example with `ripcord init`",
                options_.fleet ? Exit::invalid_file : Exit::error);
  fleet_ = load_fleet(fleet_path());
  return *fleet_;
}

ReleaseStore& Context::store_for_writing() {
  if (!store_) {
    bool none = !has_fleet_file() && !options_.fleet;
    store_.emplace(none ? absolute_path(".ripcord/store") : fleet().store);
  }
  return *store_;
}

Ledger& Context::ledger(Millis patience) {
  if (ledger_) return *ledger_;
  ledger_ = std::make_unique<Ledger>(loop_, clock_, open_ledger_of(fleet(), patience), who_, machine_);
  for (const auto& warning : ledger_->store().warnings()) out_.warn(warning);
  if (exists(spool_folder()))
    if (auto merged = wait(merge_spool(*ledger_, spool_folder())); merged > 0)
      out_.note(fmt::format("{} entries that waited for the ledger are in it now", merged));
  return *ledger_;
}

std::unique_ptr<LedgerStore> open_ledger_of(const Fleet& fleet, Millis patience) { return open_ledger(fleet.ledger, patience); }

void Context::be_quick(Millis step) {
  fleet();
  auto& ssh = fleet_->ssh;
  for (Millis* t : {&ssh.timeouts.connect, &ssh.timeouts.handshake, &ssh.timeouts.auth, &ssh.timeouts.start}) *t = std::min(*t, step);
  ssh.max_sessions = std::max(ssh.max_sessions, 512);
}

std::function<std::unique_ptr<LedgerStore>()> Context::ledger_opener(Millis patience) {
  if (!ledger_exists(fleet().ledger)) return {};
  return [address = fleet().ledger, patience] { return open_ledger(address, patience); };
}

HostPorts& Context::ports() {
  if (!ports_) {
    link_ = make_link(loop_, clock_, fleet());
    ports_ = make_wire_hosts(loop_, clock_, *link_, fleet());
  }
  return *ports_;
}

HostPorts& Context::more_ports() {
  ports();
  if (!more_ports_) more_ports_ = make_wire_hosts(loop_, clock_, *link_, fleet());
  return *more_ports_;
}

std::string Context::spool_folder() { return fleet().folder + "/.ripcord/spool"; }

std::string Context::command(const std::string& words) const { return out_.program + " " + words; }

std::vector<LedgerEntry> Context::entries() { return read_all(ledger()); }

std::vector<LedgerEntry> Context::append(std::vector<json::object> bodies) { return wait(ledger().append(std::move(bodies))); }

}  // namespace ripcord::cli
