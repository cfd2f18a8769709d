#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/view/words.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

class Logs : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit");
    a.positional("HOST", host_, "only this host");
    a.value("--rollout", rollout_, "ID", "of this rollout; else of the newest");
    a.flag("--all", all_, "of every rollout of the unit");
  }

  Exit run(Context& c) override {
    auto entries = c.entries();
    auto id = rollout_.value_or("");
    if (id.empty() && !all_) {
      auto newest = newest_rollout(entries, unit_);
      if (!newest) throw Error(fmt::format("unit '{}' has no rollout in this ledger", escape_terminal(unit_)), {}, Exit::refused);
      id = newest->spec().id;
    }
    json::array items;
    std::vector<const LedgerEntry*> found;
    for (const auto& e : entries) {
      auto kind = get_string_or(e.body, "kind", "");
      if (kind != "host.failed" && kind != "host.unhealthy") continue;
      if (get_string_or(e.body, "unit", "") != unit_ || (host_ && get_string_or(e.body, "host", "") != *host_)) continue;
      if (!all_ && get_string_or(e.body, "rollout", "") != id) continue;
      found.push_back(&e);
      items.push_back(e.body);
    }
    auto& out = c.out();
    if (!out.text()) {
      out.print_list("logs", items);
      return Exit::done;
    }
    if (found.empty())
      out.note(fmt::format("nothing failed{}{}: no output was kept", host_ ? " on " + *host_ : "", all_ ? "" : " in rollout " + id));
    for (const auto* e : found) print(out, e->body);
    return Exit::done;
  }

 private:
  void print(Output& out, const json::object& b) {
    auto step = get_string_or(b, "failed_step", "");
    Line head;
    head.add(get_string_or(b, "host", "?"), Tone::bold).add("  " + local_time(get_string_or(b, "time", "")), Tone::dim);
    head.add("  " + (step.empty() ? std::string("unhealthy") : "failed at " + step), Tone::bad).add(": " + get_string_or(b, "reason", ""));
    out.print(head.render(out.style));
    block(out, "output", get_string_or(b, "output", ""));
    block(out, "log", get_string_or(b, "log_tail", ""));
  }

  void block(Output& out, const char* name, const std::string& text) {
    auto trimmed = trim(text);
    if (trimmed.empty()) return;
    for (const auto& line : split(trimmed, '\n')) out.print(Line().cell(name, 8, Tone::dim).add(line).render(out.style));
  }

  std::string unit_;
  std::optional<std::string> host_, rollout_;
  bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_logs() { return std::make_unique<Logs>(); }

}  // namespace ripcord::cli
