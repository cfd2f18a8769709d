#include <fmt/format.h>

#include "cli/look.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kSilently{2000};  // most fleets have answered by then
constexpr Millis kAgain{10000};

struct Wait {
  std::set<std::string> unanswered;
  Signal over;
  bool ended = false;
};

Task<> tell(Context& c, std::shared_ptr<Wait> shared) {
  Wait& wait = *shared;
  const Elapsed begun = c.clock().elapsed();
  for (Elapsed next = begun + kSilently; !wait.ended; next = next + kAgain) {
    while (!wait.ended && c.clock().elapsed() < next) co_await wait.over.wait_until(c.clock(), next);
    if (wait.ended || wait.unanswered.empty()) continue;
    const Millis seconds = (c.clock().elapsed() - begun) / 1000 * 1000;
    std::vector<std::string> names(wait.unanswered.begin(), wait.unanswered.end());
    c.out().note(fmt::format("waiting for {}: no answer for {}", compress_hosts(names), format_duration(seconds)));
  }
}

Task<std::vector<HostLook>> look_and_tell(Context& c, std::vector<const Host*> hosts, UnitRef unit, Verify verify, bool process) {
  auto wait = std::make_shared<Wait>();
  TaskGroup telling(c.loop());
  telling.spawn(tell(c, wait));
  auto looks = co_await look_at(c.loop(), c.ports(), std::move(hosts), std::move(unit), verify, process, kLookWidth, &wait->unanswered);
  wait->ended = true;
  wait->over.notify_all();
  co_await telling.join();
  co_return looks;
}

}  // namespace

std::vector<HostLook> look_aloud(Context& c, std::vector<const Host*> hosts, UnitRef unit, Verify verify, bool process) {
  return c.wait(look_and_tell(c, std::move(hosts), std::move(unit), verify, process));
}

}  // namespace ripcord::cli
