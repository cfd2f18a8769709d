// What a person or a script sees of a rollout while it goes on. Fed by the engine, or by `status -w` out of the ledger; everything
// a view hears is durable already.
#pragma once
#include <memory>
#include <string>

#include "cli/output.hpp"
#include "cli/view/words.hpp"
#include "plans/rollout/engine.hpp"

namespace ripcord::cli {

class View : public RolloutObserver {
 public:
  virtual void show(const RolloutState& /*found*/) {}  // before the first entry, when the rollout is not new
  // Once, at the end. `state` is read back from the ledger; the one of on_entry may be gone afterwards.
  virtual void finish(const RolloutState& state, const Runner& runner, Exit exit, WallTime now) = 0;
};

// One line an event: "12:30:01 web-01 confirmed 1.1 in 1.2s".
std::unique_ptr<View> make_plain_view(Output& out, Clock& clock);
// Redrawn in place, at most ten times a second, fitted to the terminal; the cursor comes back whatever happens.
std::unique_ptr<View> make_live_view(Output& out, Clock& clock);
// The ledger's entries as they become durable; the last line is {"kind":"rollout.end","exit":N,…}.
std::unique_ptr<View> make_jsonl_view(Output& out);
// One object at the end.
std::unique_ptr<View> make_json_view(Output& out);

std::unique_ptr<View> make_view(Output& out, Clock& clock);  // by format and terminal

// "  next: ripcord resume storefront   (goes on)" on stderr.
void print_next_steps(Output& out, const std::vector<NextStep>& steps);

// For the signal that cannot wait: shows the cursor if a live view hid it. Async-signal-safe.
void restore_cursor();

}  // namespace ripcord::cli
