#include "cli/hosts_roster.hpp"

#include <fmt/format.h>

#include <set>

#include "cli/debts.hpp"
#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

class Change {
 public:
  Change(Context& c, const std::string& why) : c_(c), why_(why), book_(debts_of(c)) {
    for (const auto& h : c.fleet().hosts) known_.insert(h.name);
    for (const auto& [unit, hosts] : book_.intents)
      for (const auto& [host, intent] : hosts) known_.insert(host);
  }

  Exit retire(const std::string& host) {
    require_known(host);
    require_expected(host);
    append(retired_entry(host, c_.fleet().name, why_));
    say(fmt::format("{} is retired: nothing is owed to it", host));
    if (c_.fleet().find(host)) c_.out().note(fmt::format("it is still in {}; take it out there, so that nobody reaches for it", c_.fleet().file));
    return Exit::done;
  }

  Exit replace(const std::string& old, const std::string& by) {
    require_known(old);
    require_expected(old);
    if (old == by)
      throw Error("a host cannot replace itself", fmt::format("one that was installed again under its name is brought back by `{}`", c_.command("converge " + old + " -m WHY")),
                  Exit::usage);
    if (!c_.fleet().find(by))
      throw Error(fmt::format("host '{}' is not in the fleet file", escape_terminal(by)), "nothing was changed; write it there first, with its labels", Exit::refused);
    append(replaced_entry(old, by, c_.fleet().name, why_));
    say(fmt::format("{} is replaced by {}", old, by));
    auto after = debts_of(c_);
    for (const auto& line : debt_lines(after.of_host(by))) c_.out().note("owed now: " + line);
    for (const auto& [unit, hosts] : after.intents) {
      auto carried = hosts.find(old);
      bool owed = false;
      for (const auto& d : after.of_host(by)) owed = owed || d.unit == unit;
      if (carried != hosts.end() && !carried->second.folder.empty() && !owed && !hosts.contains(by))
        c_.out().warn(fmt::format("{} had {}, and {} does not match the hosts of that unit: correct its labels, or it is not owed", old, unit, by));
    }
    if (!after.of_host(by).empty()) c_.out().note(fmt::format("`{}` brings it, once `{}` says that it answers", c_.command("converge " + by + " -m WHY"), c_.command("doctor")));
    if (c_.fleet().find(old)) c_.out().note(fmt::format("{} is still in {}; take it out there, so that nobody reaches for it", old, c_.fleet().file));
    return Exit::done;
  }

  Exit readmit(const std::string& host) {
    if (book_.roster.expects(host))
      throw Error(fmt::format("host '{}' is neither retired nor replaced", escape_terminal(host)), "nothing was changed", Exit::refused);
    append(readmitted_entry(host, c_.fleet().name, why_));
    say(fmt::format("{} is expected again", host));
    for (const auto& line : debt_lines(debts_of(c_).of_host(host))) c_.out().note("owed now: " + line);
    return Exit::done;
  }

 private:
  void require_known(const std::string& host) const {
    if (known_.contains(host)) return;
    auto near = did_you_mean(host, {known_.begin(), known_.end()});
    throw Error(fmt::format("neither the fleet file nor the ledger knows a host '{}'{}", escape_terminal(host), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                "nothing was changed", Exit::refused);
  }

  void require_expected(const std::string& host) const {
    auto found = book_.roster.gone.find(host);
    if (found == book_.roster.gone.end()) return;
    const auto& left = found->second;
    throw Error(fmt::format("host '{}' was {} by {} before: {}", host, left.replaced_by.empty() ? "retired" : "replaced by " + left.replaced_by + ",", left.who, left.why),
                "nothing was changed", Exit::refused);
  }

  void append(json::object body) {
    std::vector<json::object> bodies;
    bodies.push_back(std::move(body));
    entries_ = c_.append(std::move(bodies));
  }

  void say(const std::string& text) {
    if (c_.out().text()) c_.out().print(escape_terminal(text));
    else c_.out().print_json(entries_.back().body);
  }

  Context& c_;
  const std::string& why_;
  DebtBook book_;
  std::set<std::string> known_;
  std::vector<LedgerEntry> entries_;
};

}  // namespace

Exit change_roster(Context& c, const std::vector<std::string>& words, const std::string& why) {
  const auto& action = words[0];
  const std::size_t wants = action == "replace" ? 3 : 2;
  if (action != "replace" && action != "retire" && action != "readmit") {
    auto near = did_you_mean(action, {"replace", "retire", "readmit"});
    throw Error(fmt::format("hosts has no action '{}'{}", escape_terminal(action), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                "`ripcord help hosts` lists them; --limit SELECTOR shows only some hosts", Exit::usage);
  }
  if (words.size() != wants)
    throw Error(fmt::format("hosts {} takes {}", action, wants == 3 ? "OLD and NEW" : "one HOST"), {}, Exit::usage);
  if (trim(why).empty()) throw Error(fmt::format("hosts {} needs a reason", action), "add -m WHY; it goes into the ledger", Exit::usage);
  Change change(c, why);
  if (action == "replace") return change.replace(words[1], words[2]);
  return action == "retire" ? change.retire(words[1]) : change.readmit(words[1]);
}

}  // namespace ripcord::cli
