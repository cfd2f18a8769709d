#include <fmt/format.h>

#include <charconv>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/debts.hpp"
#include "cli/ledger_check.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"
#include "manifests/shared/ledger_name.hpp"
#include "manifests/shared/retention.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kWithin{600000};

struct HostPruned {
  const Host* host = nullptr;
  PruneReply reply;
  std::string fault;
  Exit exit = Exit::done;
};

Task<> prune_one(HostPorts& ports, HostPruned& out, PruneRequest rules, Slots& slots) {
  auto slot = co_await slots.acquire();
  json::object request = to_json(rules);
  request["do"] = "prune";
  try {
    json::object reply = co_await ports.port(out.host->name).ask(std::move(request), kWithin);
    out.reply = prune_reply_from_json(reply);
  } catch (const LinkError& e) {
    out.fault = e.message();
    out.exit = e.exit();
  } catch (const Error& e) {
    out.fault = e.what();
    out.exit = Exit::error;
  }
}

Task<> prune_all(Loop& loop, HostPorts& ports, std::vector<HostPruned>& hosts, PruneRequest rules) {
  Slots slots(kLookWidth);
  TaskGroup group(loop);
  for (auto& h : hosts) group.spawn(prune_one(ports, h, rules, slots));
  co_await group.join();
}

class Prune : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit whose retired releases may go");
    a.value("--limit", limit_, "SELECTOR", "only these hosts: a selector, or names (web-1,web-2)");
    a.value("--keep", keep_, "N", "the newest retired releases that stay, at least 5");
    a.value("--older-than", age_, "DURATION", "retired for longer than this, at least 14d");
    a.flag("--dry-run", dry_run_, "only say what would be marked and removed");
    confirmation_.declare(a, false);
  }

  Exit run(Context& c) override {
    if (!knows_unit(c, unit_)) refuse_unknown_unit(c, unit_, {});
    auto ref = unit_ref(c, unit_);
    PruneRequest rules;
    rules.unit = ref;
    rules.now_ms = c.now().ms;
    rules.dry_run = dry_run_;
    if (keep_) rules.keep = at_least("--keep", *keep_, 5, 1000);
    if (age_) rules.age_ms = parse_age(*age_).count();
    auto book = debts_of(c);
    refuse_debts(c, book);
    rules.pinned = pinned(c, book);
    auto& out = c.out();
    auto chosen = limited(c, limit_);
    if (!dry_run_)
      confirm(c, confirmation_, fmt::format("mark retired releases of {} on {}, and remove what was marked before?", unit_, count_of(chosen.size(), "host")), false);
    refuse_other_history(c, chosen);
    std::vector<HostPruned> hosts(chosen.size());
    for (std::size_t i = 0; i < chosen.size(); ++i) hosts[i].host = chosen[i];
    if (!dry_run_) note(c, "prune.started", {});
    c.wait(prune_all(c.loop(), c.ports(), hosts, rules));
    json::array told;
    Exit exit = Exit::done;
    for (const auto& h : hosts) told.push_back(json_of(h)), exit = h.fault.empty() || book.quarantines.contains(h.host->name) ? exit : worst_of(exit, h.exit);
    if (!dry_run_) note(c, "prune.ended", told);
    if (out.text()) print(out, hosts);
    else out.print_list("hosts", told);
    return exit;
  }

 private:
  static Exit worst_of(Exit a, Exit b) { return a == Exit::done ? b : worst(a, b); }

  static int at_least(const std::string& what, const std::string& text, int least, int most) {
    int n = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size() || n < least || n > most)
      throw Error(fmt::format("{} is a number from {} to {}, not '{}'", what, least, most, escape_terminal(text)), {}, Exit::usage);
    return n;
  }

  static Millis parse_age(const std::string& text) {
    auto age = parse_duration(text);
    if (!age || *age < Millis(14 * 86400000LL))
      throw Error(fmt::format("--older-than is a duration of at least 14d, not '{}'", escape_terminal(text)),
                  "what was retired within two weeks always stays", Exit::usage);
    return *age;
  }

  // Hosts that are owed may need what others would throw away. Those that are knowingly apart do not hold anybody up: what they may need
  // is pinned.
  void refuse_debts(Context& c, const DebtBook& book) const {
    auto owed = book.of_unit(unit_);
    if (owed.empty()) return;
    auto lines = debt_lines(owed);
    for (std::size_t i = dry_run_ ? 0 : 1; i < lines.size(); ++i) c.out().warn("owed: " + lines[i]);
    if (dry_run_) return;
    throw Error(fmt::format("{} of '{}' {} owed, and what {} may need stays until then: {}", count_of(owed.size(), "host"), unit_, owed.size() == 1 ? "is" : "are",
                            owed.size() == 1 ? "it" : "they", lines[0]),
                fmt::format("nothing was changed; `{}` brings what is owed, `{}` and `{}` excuse a host", c.command("converge --unit " + unit_ + " -m WHY"),
                            c.command("quarantine"), c.command("hosts retire")),
                Exit::refused);
  }

  // What a ledger does not know of, or another one does, it cannot keep.
  void refuse_other_history(Context& c, const std::vector<const Host*>& chosen) const {
    auto looks = look_for_unit(c, chosen, unit_, Verify::none, false);
    for (const auto& l : looks)
      if (l.look && !l.look->unit.ledger_id.empty() && l.look->unit.ledger_id != c.ledger().id())
        throw Error(fmt::format("{}: unit '{}' of this host belongs to {}, and this ledger does not know what may go there", l.host->name, unit_, ledger_text(l.look->unit.ledger_id)),
                    fmt::format("nothing was changed; prune from there, or take it over with `{}`", c.command("adopt " + unit_ + " -m WHY")), Exit::held);
    if (auto lost = lost_commits(c, looks, unit_); !lost.empty()) throw Error(lost[0].what, "nothing was changed", lost[0].exit);
  }

  // What open rollouts start from and go to, and debts. Without the ledger nobody knows, so nothing is pruned.
  std::vector<Digest> pinned(Context& c, const DebtBook& book) {
    auto needed = book.needed(unit_);
    std::set<Digest> pins(needed.begin(), needed.end());
    if (auto open = open_rollout(c.entries(), unit_)) {
      pins.insert(open->spec().manifest);
      for (const auto& h : open->spec().hosts)
        if (h.from) pins.insert(h.from->manifest);
    }
    return {pins.begin(), pins.end()};
  }

  void note(Context& c, const std::string& kind, json::array hosts) {
    json::object body{{"kind", kind}, {"unit", unit_}};
    if (!hosts.empty()) body["hosts"] = std::move(hosts);
    std::vector<json::object> bodies;
    bodies.push_back(std::move(body));
    c.append(std::move(bodies));
  }

  static json::object json_of(const HostPruned& h) {
    json::object o = to_json(h.reply);
    o["host"] = h.host->name;
    if (!h.fault.empty()) o["error"] = h.fault;
    return o;
  }

  void print(Output& out, const std::vector<HostPruned>& hosts) const {
    Table table({"HOST", "KEPT", dry_run_ ? "WOULD MARK" : "MARKED", dry_run_ ? "WOULD REMOVE" : "REMOVED", dry_run_ ? "WOULD FREE" : "FREED", ""});
    std::size_t marked = 0, removed = 0;
    std::uint64_t freed = 0;
    for (const auto& h : hosts) {
      std::map<std::string, std::vector<std::string>> by_fate;
      std::uint64_t bytes = 0;
      for (const auto& i : h.reply.items) {
        by_fate[i.fate].push_back(i.kind == "release" ? i.name : i.kind + " " + i.name.substr(0, 24));
        if (i.fate == "removed") bytes += i.bytes;
      }
      marked += by_fate["marked"].size(), removed += by_fate["removed"].size(), freed += bytes;
      table.row({{h.host->name}, {fmt::format("{}", by_fate["kept"].size())}, {join(by_fate["marked"], ", "), Tone::warn},
                 {join(by_fate["removed"], ", "), Tone::good}, {bytes > 0 ? format_size(bytes) : ""}, {h.fault, Tone::bad}});
    }
    for (const auto& line : table.render(out.style)) out.print(line);
    out.note(fmt::format("{} {}, {} {}, {} {}", marked, dry_run_ ? "to be marked" : "marked", removed, dry_run_ ? "to be removed" : "removed",
                         format_size(freed), dry_run_ ? "to be freed" : "freed"));
    if (marked > 0 && !dry_run_) out.note("what is marked is removed by a prune at least a day from now, if nothing needs it until then");
  }

  std::string unit_;
  std::optional<std::string> limit_, keep_, age_;
  bool dry_run_ = false;
  Confirmation confirmation_;
};

}  // namespace

std::unique_ptr<Command> make_prune() { return std::make_unique<Prune>(); }

}  // namespace ripcord::cli
