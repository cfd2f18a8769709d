#include <fmt/format.h>
#include <unistd.h>

#include "cli/check.hpp"
#include "cli/command.hpp"
#include "cli/debts.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_address.hpp"

namespace ripcord::cli {
namespace {

bool in_path(const std::string& program) {
  const char* path = ::getenv("PATH");
  for (const auto& folder : split(path ? path : "/usr/bin:/bin", ':'))
    if (!folder.empty() && ::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

class Doctor : public Command {
 public:
  void declare(Arguments& a) override {
    a.value("--limit", limit_, "SELECTOR", "only these hosts: a selector, or names (web-1,web-2)");
    a.flag("--rollback", rollback_, "could this machine pull the cord now? Every way back is read to the last byte");
    a.value("--unit", unit_, "UNIT", "with --rollback: of this unit; else of every unit that is sealed here");
  }

  Exit run(Context& c) override {
    const auto& fleet = c.fleet();
    good("fleet",
         fmt::format("{}: {} in {}", fleet.name, count_of(fleet.hosts.size(), "host"), count_of(fleet.datacenters.size(), "datacenter")));
    this_machine(c);
    if (rollback_) cord(c);
    else hosts(c);
    return report(c);
  }

 private:
  void good(std::string what, std::string detail) {
    checks_.push_back({std::move(what), std::move(detail), "", Check::Result::ok, Exit::done});
  }
  void warn(std::string what, std::string detail, std::string cure) {
    checks_.push_back({std::move(what), std::move(detail), std::move(cure), Check::Result::warning, Exit::done});
  }
  void bad(std::string what, std::string detail, std::string cure, Exit exit) {
    checks_.push_back({std::move(what), std::move(detail), std::move(cure), Check::Result::failed, exit});
  }

  template <class F>
  bool attempt(const std::string& what, F f) {
    try {
      good(what, f());
      return true;
    } catch (const Error& e) {
      bad(what, e.what(), e.hint(), e.exit());
      return false;
    }
  }

  void this_machine(Context& c) {
    const auto& fleet = c.fleet();
    program_ = attempt("host program", [] {
      auto p = find_host_program();
      return p.path + " (" + p.digest.short_hex() + ")";
    });
    if (!rollback_)
      attempt("ledger", [&] { return fmt::format("{}, head at entry {}", ledger_shown(fleet.ledger), c.ledger().store().size() - 1); });
    attempt("store", [&] { return fmt::format("{}: {}", fleet.store, count_of(c.store().units().size(), "unit")); });
    if (in_path("ssh-keygen")) good("ssh-keygen", "found");
    else warn("ssh-keygen", "not in PATH", "install openssh-client to seal with --key");
    if (fleet.link != Fleet::LinkKind::ssh) return;
    if (in_path("ssh")) good("ssh", "found");
    else warn("ssh", "not in PATH", "install openssh-client: settings come from `ssh -G`, jump hosts go through `ssh -W`");
    if (!fleet.ssh.identity.empty() && ::access(fleet.ssh.identity.c_str(), R_OK) != 0)
      bad("identity", fmt::format("'{}' cannot be read", fleet.ssh.identity), "correct ssh.identity in the fleet file", Exit::error);
    if (!fleet.ssh.known_hosts.empty() && ::access(fleet.ssh.known_hosts.c_str(), R_OK) != 0)
      bad("known_hosts", fmt::format("'{}' cannot be read", fleet.ssh.known_hosts), "without it no host key is known", Exit::error);
  }

  void cord(Context& c) {
    if (!program_) return;
    std::vector<std::string> units;
    try {
      units = unit_ ? std::vector<std::string>{*unit_} : c.store().units();
    } catch (const Error&) {  // said by the check of the store
    }
    if (units.empty()) throw Error("no release is sealed here, so no unit is known", "name the unit with --unit UNIT", Exit::usage);
    for (auto& check : check_cord(c, limited(c, limit_), units)) checks_.push_back(std::move(check));
  }

  void hosts(Context& c) {
    if (!program_) return;
    auto looks = look_for_unit(c, limited(c, limit_), "", Verify::none, false);
    Quarantines apart;
    try {
      apart = debts_of(c).quarantines;
    } catch (const Error&) {  // said by the check of the ledger
    }
    auto now = c.now();
    std::vector<std::string> weak, trusting;
    std::size_t well = 0;
    for (const auto& l : looks) {
      if (auto q = apart.find(l.host->name); !l.look && q != apart.end()) {
        warn(l.host->name, q->second.text() + "; " + l.fault_name + ": " + l.fault, l.hint);
        continue;
      }
      if (!l.look) {
        bad(l.host->name, l.fault_name + ": " + l.fault, l.hint, l.fault_kind == LinkFault::trust ? Exit::integrity : Exit::unreachable);
        continue;
      }
      ++well;
      const auto& h = l.look->hello;
      if (h.deadman != "strong") weak.push_back(l.host->name);
      if (h.trust != "required") trusting.push_back(l.host->name);
      auto skew = h.wall_ms - now.ms;
      if (skew > 30000 || skew < -30000)
        warn(l.host->name, fmt::format("its clock is {} {}", format_duration(Millis(std::abs(skew))), skew > 0 ? "ahead" : "behind"),
             "run a time service (chrony, systemd-timesyncd) on it");
      if (auto found = l.host->labels.find("arch"); found != l.host->labels.end() && found->second != h.arch)
        warn(l.host->name, fmt::format("the fleet file says arch {}, and it is {}", found->second, h.arch), "correct the label");
    }
    good("hosts", fmt::format("{} of {} answer and run the host program", well, looks.size()));
    if (!weak.empty())
      warn("dead-man", fmt::format("weak on {}: {}", count_of(weak.size(), "host"), compress_hosts(weak)),
           "without systemd the way back after a reboot waits for the next contact; a plan can say `deadman: strong`");
    else if (well > 0) good("dead-man", "strong on every host that answers");
    if (!trusting.empty() && well > 0)
      warn("trust", fmt::format("{} take unsigned releases: {}", count_of(trusting.size(), "host"), compress_hosts(trusting)),
           "put an allowed_signers file on them to take only releases sealed with --key");
    else if (well > 0) good("trust", "every host takes only signed releases");
  }

  Exit report(Context& c) {
    auto& out = c.out();
    Exit exit = Exit::done;
    bool first = true;
    json::array items;
    std::size_t width = 0;
    for (const auto& k : checks_) width = std::max(width, columns(k.what));
    for (const auto& k : checks_) {
      const bool ok = k.result == Check::Result::ok, failed = k.result == Check::Result::failed;
      if (failed) exit = first ? k.exit : worst(exit, k.exit), first = false;
      if (!out.text()) {
        items.push_back(json::object{{"check", k.what},
                                     {"result", ok       ? "ok"
                                                : failed ? "failed"
                                                         : "warning"},
                                     {"detail", k.detail},
                                     {"cure", k.cure}});
        continue;
      }
      auto tone = ok ? Tone::good : failed ? Tone::bad : Tone::warn;
      out.print(Line().cell(ok ? "ok" : failed ? "FAIL" : "warn", 6, tone).cell(k.what, width + 2).add(k.detail).render(out.style));
      if (!k.cure.empty()) out.print(Line().add("      ").cell("", width + 2).add("cure: " + k.cure, Tone::dim).render(out.style));
    }
    if (!out.text()) out.print_list("checks", items);
    return exit;
  }

  std::optional<std::string> limit_, unit_;
  std::vector<Check> checks_;
  bool program_ = false, rollback_ = false;
};

}  // namespace

std::unique_ptr<Command> make_doctor() { return std::make_unique<Doctor>(); }

}  // namespace ripcord::cli
