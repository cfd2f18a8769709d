// Ctrl-C, SIGTERM and SIGHUP while something runs: the first asks it to stop cleanly, the second ends the program at once
// (the ledger and the hosts know what was done). One at a time in a process.
#pragma once
#include <functional>
#include <memory>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"

namespace ripcord::cli {

class Interrupts {
 public:
  // `first` is called on the loop with the signal's number.
  Interrupts(Loop& loop, Clock& clock, std::function<void(int)> first);
  ~Interrupts();  // the signals mean again what they meant before
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  int caught() const;  // 0: none

 private:
  struct State;
  std::shared_ptr<State> state_;
};

std::string signal_name(int signal);  // "Ctrl-C", "SIGTERM"

}  // namespace ripcord::cli
