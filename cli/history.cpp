#include "plans/ledger/history.hpp"

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

class History : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "only this unit");
    a.flag("--all", all_, "every entry, hosts too");
  }

  Exit run(Context& c) override {
    auto lines = history(c.entries(), unit_.value_or(""), all_);
    auto& out = c.out();
    if (!out.text()) {
      json::array items;
      for (const auto& l : lines)
        items.push_back(json::object{{"seq", l.seq},
                                     {"time", l.time},
                                     {"who", l.who},
                                     {"machine", l.machine},
                                     {"kind", l.kind},
                                     {"rollout", l.rollout},
                                     {"unit", l.unit},
                                     {"what", l.what},
                                     {"why", l.why}});
      out.print_list("history", items);
      return Exit::done;
    }
    if (lines.empty()) {
      out.note(unit_ ? fmt::format("the ledger has nothing on unit '{}'", *unit_) : "the ledger is empty");
      return Exit::done;
    }
    std::size_t width = 0;
    for (const auto& l : lines) width = std::max(width, columns(escape_terminal(l.who)));
    for (const auto& l : lines) {
      Line line;
      line.add(local_time(l.time), Tone::dim).add("  ").cell(l.who, width + 2).add(l.what);
      if (!l.why.empty() && l.what.find(l.why) == std::string::npos) line.add(": " + l.why, Tone::dim);
      out.print(line.render(out.style));
    }
    return Exit::done;
  }

 private:
  std::optional<std::string> unit_;
  bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_history() { return std::make_unique<History>(); }

}  // namespace ripcord::cli
