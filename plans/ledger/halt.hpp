// The big red switch as controllers see it (DESIGN section 6): a file beside the fleet, entries in the ledger, a flag on every host.
// Whoever can read one of them starts nothing forward.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"
#include "manifests/shared/halt.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

// The local file keeps the newest halt also when it was lifted: a process that was stopped meanwhile sees by the id that there
// was one.
struct HaltMark {
  Halt halt;
  bool on = false;
};
std::string halt_file(const Fleet& fleet);
std::optional<HaltMark> read_halt_mark(const std::string& file);  // a file that cannot be read is a halt
void write_halt_mark(const std::string& file, const HaltMark& mark);

json::object halted_entry(const Halt& halt, const std::string& fleet);                           // kind fleet.halted
json::object unhalted_entry(const Halt& lifted, const std::string& fleet, const std::string& why);  // kind fleet.unhalted
// Into the spool (plans/ledger/spool.hpp), durable when it returns: whoever opens the ledger next merges it.
void spool_entry(const std::string& spool_folder, const std::string& id, json::object entry, WallTime now, const std::string& who);
std::optional<Halt> standing_halt(const std::vector<LedgerEntry>& entries, const std::string& fleet);

// For a process that runs a rollout: what this machine's file says, now against when it began.
class HaltWatch {
 public:
  explicit HaltWatch(std::string file) : file_(std::move(file)) {}
  void begin();                       // a halt that is heard from here on is news, also when it was lifted meanwhile
  std::optional<Halt> heard() const;
  // Error(Exit::held) when the fleet is halted, by the file or by the ledger.
  void refuse(const std::vector<LedgerEntry>& entries, const std::string& fleet) const;

 private:
  std::string file_, before_;
};

// What one host said. Empty `fault`: it acknowledged.
struct HaltLine {
  const Host* host = nullptr;
  bool acknowledged = false;
  std::string fault, hint;
};
// Asks every host at once, at most `width`, and gives up on those that have not answered `within` (whose sessions end with the
// process). `on_host` hears each. Never throws for a host. `halt` null: lift it.
Task<std::vector<HaltLine>> halt_hosts(Loop& loop, Clock& clock, HostPorts& ports, std::vector<const Host*> hosts, std::optional<Halt> halt,
                                       std::size_t width, Millis within, std::function<void(const HaltLine&)> on_host);

}  // namespace ripcord
