// A fair queue for something scarce, safe to destroy under its waiters: they are let go and fail, where a plain Slots would leave
// them suspended for ever, each keeping itself alive.
#pragma once
#include <memory>

#include "core/base/async.hpp"
#include "core/base/error.hpp"

namespace ripcord {

class Turns {
  struct State {
    explicit State(std::size_t at_once) : slots(at_once) {}
    Slots slots;
    std::size_t waiting = 0;
    bool closed = false;
  };

 public:
  class Turn {  // RAII; may outlive the Turns
   public:
    Turn(std::shared_ptr<State> state, Slots::Held held) : state_(std::move(state)), held_(std::move(held)) {}

   private:
    std::shared_ptr<State> state_;
    Slots::Held held_;  // after state_: goes first
  };

  explicit Turns(std::size_t at_once) : state_(std::make_shared<State>(at_once)) {}
  ~Turns() {
    state_->closed = true;
    for (auto n = state_->waiting; n > 0; --n) Slots::Held(&state_->slots).release();  // hands a slot to each
  }
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  // Error when the Turns went meanwhile.
  Task<Turn> next() { return wait(state_); }

 private:
  static Task<Turn> wait(std::shared_ptr<State> state) {
    ++state->waiting;
    auto held = co_await state->slots.acquire();
    --state->waiting;
    if (state->closed) throw Error("given up: the link was closed");
    co_return Turn(state, std::move(held));
  }
  std::shared_ptr<State> state_;
};

}  // namespace ripcord
