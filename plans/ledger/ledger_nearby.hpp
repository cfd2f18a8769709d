// The ledger, if it answers in time. It is opened on a thread of its own while the hosts are asked, so that one that hangs costs the
// rip cord nothing but what it was given. Also what the cord wants to know of it: the unit's newest rollout, and an open one.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/net/ledger.hpp"

namespace ripcord {

class LedgerNearby {
 public:
  using Opener = std::function<std::unique_ptr<LedgerStore>()>;  // blocking, may throw; empty: there is none, and none is to be made
  LedgerNearby(Loop& loop, Clock& clock, Opener opener, std::string unit, std::string who, std::string machine);
  explicit LedgerNearby(Ledger& ready, const std::string& unit);  // one that is open already
  ~LedgerNearby();
  LedgerNearby(const LedgerNearby&) = delete;
  LedgerNearby& operator=(const LedgerNearby&) = delete;

  // null: it is not there by then, and `trouble` says why. From then on it counts as gone.
  Task<Ledger*> within(Elapsed deadline);
  Ledger* now();                                        // without waiting
  const std::string& trouble() const { return trouble_; }
  const std::string& newest_rollout() const;            // ids; "": none, or it is not open
  const std::string& open_rollout() const;
  bool open_is_aside() const;                           // a convergence or a repair: journalled under another rollout
  void give_up(std::string why);                        // it failed a caller: nobody waits for it again, not even at the end

 private:
  struct State;
  Clock* clock_ = nullptr;
  Loop* loop_ = nullptr;
  std::shared_ptr<State> state_;
  std::string who_, machine_, trouble_;
  std::unique_ptr<Ledger> own_;
  Ledger* ledger_ = nullptr;
  bool gone_ = false;
};

}  // namespace ripcord
