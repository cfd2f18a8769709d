// What a host is in the middle of when its power goes: how it stands before (on an empty file system), what it is asked to do, and what
// must be so at any instant of it, after the recovery, and from then on. Every check is a sentence of what is wrong, or "".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/host/prune.hpp"
#include "tests/host/activation_fixture.hpp"

namespace ripcord::test {

enum class Scene {
  first,     // staged and deployed where nothing was
  upgrade,   // 1.1 staged, activated and confirmed over 1.0
  rollback,  // from 1.1 back to 1.0
  healed,    // the same, and 1.0 has to be put right before
  revert,    // the way back itself, in the boot after a first cut: 1.1 was activated over 1.0 and not confirmed
  prune,     // two of eight releases go
  steer,     // fenced and halted, and refuses to go forward
};
inline constexpr Scene kScenes[] = {Scene::first, Scene::upgrade, Scene::rollback, Scene::healed, Scene::revert, Scene::prune, Scene::steer};
const char* to_text(Scene scene);

// What a session asks for, as bytes; empty: the program is `recover`.
struct Script {
  std::string input;
  std::optional<ReleaseId> from, to;
  std::string op = "cut";
};

// On the mounted, empty file system; returns the session that is then cut.
Script prepare(Scene scene, ActivationHost& h);

// Frames after the greeting, complete ones.
std::vector<json::object> frames_in(std::string_view output);

// --- checks, each on a host as a cut left it; `told`: the frames that had left the host before the cut ----------------------
std::string wrong_at_once(Scene scene, const Script& script, ActivationHost& h, const std::vector<json::object>& told);
std::string wrong_when_recovered(Scene scene, const Script& script, ActivationHost& h, OpPhase at_the_cut);
// A release forward and back again.
std::string wrong_afterwards(ActivationHost& h);

// Where the operation stands by the journal, and whether `current` moved: "intent, switched".
std::string standing(Scene scene, const Script& script, ActivationHost& h);
std::string goal(Scene scene);  // of a session that nothing cut

}  // namespace ripcord::test
