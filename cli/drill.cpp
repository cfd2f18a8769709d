#include "plans/rollout/drill.hpp"

#include <fmt/format.h>

#include <charconv>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/debts.hpp"
#include "cli/halted.hpp"
#include "cli/ledger_check.hpp"
#include "cli/limit.hpp"
#include "cli/rollout_run.hpp"
#include "cli/target.hpp"
#include "core/net/ledger_address.hpp"
#include "plans/ledger/live_releases.hpp"

namespace ripcord::cli {
namespace {

class Drill : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("KIND", kind_, "rollback, deadman or report");
    a.positional("UNIT", unit_, "the unit; may be left out when only one is sealed here");
    a.value("--hosts", hosts_, "N", "so many hosts for each value of --per (default 1)");
    a.value("--per", per_, "LABEL", "default datacenter");
    a.value("--limit", limit_, "SELECTOR", "only among these hosts: a selector, or names (web-1,web-2)");
    a.value("-m,--message", why_, "WHY", "the reason; it goes into the ledger");
    a.flag("--outside-window", outside_window_, "also outside working hours; needs -m");
    confirmation_.declare(a, true);
  }

  Exit run(Context& c) override {
    if (kind_ == "report") return report(c);
    if (kind_ != kDrillRollback && kind_ != kDrillDeadman)
      throw Error(fmt::format("'{}' is no drill", escape_terminal(kind_)), "drills are rollback and deadman; `drill report` says when each was last walked",
                  Exit::usage);
    int count = 0;
    auto [end, ec] = std::from_chars(hosts_.data(), hosts_.data() + hosts_.size(), count);
    if (ec != std::errc() || end != hosts_.data() + hosts_.size() || count < 1)
      throw Error(fmt::format("--hosts '{}' is not a number of hosts", escape_terminal(hosts_)), {}, Exit::usage);
    if (outside_window_ && trim(why_).empty())
      throw Error("--outside-window needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
    auto window = working_hours(local_timezone());
    if (!outside_window_ && !window.open(c.now()))
      throw Error(fmt::format("drills are for working hours ({}), when people are there; the next ones begin {}", window.text(),
                              short_time(window.next_open(c.now()), c.now())),
                  "nothing was changed; --outside-window -m WHY does not wait", Exit::refused);
    return drill(c, count, window);
  }

 private:
  std::string unit(Context& c) const {
    if (unit_) return *unit_;
    auto units = c.store().units();
    if (units.size() == 1) return units[0];
    throw Error("UNIT is missing", units.empty() ? "nothing is sealed here yet" : "name one of: " + join(units, ", "), Exit::usage);
  }

  Exit drill(Context& c, int count, const Window& window) {
    (void)find_host_program();
    refuse_when_halted(c);
    const auto name = unit(c);
    auto newest = load_release(c.store(), find_release(c.store(), name, std::nullopt)).manifest.spec;
    auto hosts = hosts_of_unit(c, newest);
    refuse_open_rollouts(c, name, hosts);
    if (limit_) {
      auto selector = parse_limit(c.fleet(), *limit_);
      std::erase_if(hosts, [&](const Host* h) { return !selector.matches(h->labels); });
      if (hosts.empty()) throw Error(fmt::format("--limit '{}' matches no host of {}", escape_terminal(*limit_), name), no_match_hint(c.fleet(), *limit_), Exit::refused);
    }
    auto roll = without_quarantined(c, debts_of(c), hosts);
    hosts = roll.hosts;
    for (const auto& left : roll.quarantined) c.out().warn(fmt::format("not drilled: {}: {}", left.host, left.why));
    UnitRef ref{name, newest.root};
    auto looks = look_aloud(c, hosts, ref, Verify::quick, true);
    if (auto lost = lost_commits(c, looks, name); !lost.empty()) throw Error(lost[0].what, "nothing was changed", lost[0].exit);
    auto choice = choose_drill(looks, count, per_, all_proofs(c.entries(), name));
    for (const auto& skipped : choice.skipped) c.out().warn("not drilled: " + skipped);
    for (const auto& value : choice.without) c.out().warn(fmt::format("no host of {} '{}' can be drilled", per_.empty() ? "fleet" : per_, value));
    if (choice.hosts.empty())
      throw Error(fmt::format("no host of {} can be drilled: none runs it well and has a way back", name),
                  fmt::format("`{}` says what every host runs; a way back there is after the second rollout", c.command("hosts --unit " + name)),
                  Exit::refused);
    auto spec = spec_of(c, choice, ref, looks);
    spec.window = window;
    if (c.out().text() && !c.out().quiet) {
      for (const auto& h : spec.hosts)
        c.out().print(escape_terminal(fmt::format("{} ({}): {} -> {} -> {}{}", h.name, h.datacenter, h.to.version, h.from->version,
                                                  kind_ == kDrillDeadman ? fmt::format("{}, unconfirmed for {} -> {} by itself -> ", h.to.version,
                                                                                       format_duration(spec.lapse_within), h.from->version)
                                                                         : "",
                                                  h.to.version)));
    }
    confirm(c, confirmation_, fmt::format("walk the way back on {}, one after another?", count_of(spec.hosts.size(), "live host")), true);
    std::int64_t epoch = 0;
    for (const auto& l : looks)
      if (l.look) epoch = std::max(epoch, l.look->unit.epoch);
    ReleaseOnHand release;  // nothing is staged: the hosts have both releases
    release.digest = spec.manifest;
    return start_rollout(c, release, std::move(spec), epoch, {});
  }

  RolloutSpec spec_of(Context& c, const DrillChoice& choice, const UnitRef& ref, const std::vector<HostLook>&) {
    const auto& to = choice.hosts[0].to;
    std::vector<std::string> holders{choice.hosts[0].name};
    auto manifest = c.wait(find_manifest(c.ports(), c.store(), std::move(holders), ref, to.manifest));
    if (!manifest)
      throw Error(fmt::format("neither the store nor host '{}' has the manifest of {}@{}", choice.hosts[0].name, ref.unit, to.version),
                  "nothing was changed", Exit::refused);
    RolloutSpec spec;
    spec.id = new_rollout_id(c.now());
    spec.fleet = c.fleet().name;
    spec.unit = ref.unit;
    spec.root = ref.root;
    spec.version = to.version;
    spec.manifest = to.manifest;
    spec.hosts = choice.hosts;
    spec.drill = kind_;
    spec.confirm_within = activation_bound(manifest->spec, c.fleet().ssh.timeouts.total());
    spec.lapse_within = lapse_time(manifest->spec);
    spec.outside_window = outside_window_;
    spec.who = c.who();
    spec.why = why_;
    StageSpec stage;
    stage.name = "drill";
    stage.max_parallel = 1;
    spec.stages.push_back(std::move(stage));
    return spec;
  }

  Exit report(Context& c) {
    auto& out = c.out();
    auto entries = ledger_exists(c.fleet().ledger) ? c.entries() : std::vector<LedgerEntry>();
    auto walks = last_walks(c.fleet(), all_proofs(entries, unit_.value_or("")));
    json::array items;
    Table table({"DATACENTER", "LAST WALKED", "HOST", "WAY", "BACK IN"});
    for (const auto& [datacenter, proof] : walks) {
      json::object item{{"datacenter", datacenter}};
      item["walked"] = proof ? json::value(to_json(*proof)) : json::value(nullptr);
      items.push_back(std::move(item));
      if (!proof) table.row({{datacenter}, {"never", Tone::warn}, {"-"}, {"-"}, {"-"}});
      else
        table.row({{datacenter}, {short_time(proof->at, c.now())}, {proof->host}, {proof->to_version + " -> " + proof->from_version}, {format_duration(proof->back)}});
    }
    if (!out.text()) out.print_list("datacenters", items);
    else
      for (const auto& line : table.render(out.style)) out.print(line);
    return Exit::done;
  }

  std::string kind_, hosts_ = "1", per_ = "datacenter", why_;
  std::optional<std::string> unit_, limit_;
  bool outside_window_ = false;
  Confirmation confirmation_;
};

}  // namespace

std::unique_ptr<Command> make_drill() { return std::make_unique<Drill>(); }

}  // namespace ripcord::cli
