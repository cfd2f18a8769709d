// The power goes, at any instant: a host's file system is copied as its disk holds it after every flush of an operation, and in the
// middle of flushes, and booted. `current` names a whole release of a journalled operation; what the host had said is so; recovery, as
// at boot or by the dead-man's timer, ends the operation with one verdict; and then the host goes forward and back as ever (promises
// 1, 2, 3, 5, 6, 12, 13). RIPCORD_LONG: every flush, many torn ones, on ext4 and XFS.
#include <fmt/format.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "core/base/clock.hpp"
#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "tests/fault/power_scene.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/disk_image.hpp"
#include "tests/support/step_trace.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr const char* kProgram = RIPCORD_BUILD_DIR "/ripcord-host";

struct Findings {
  std::mutex mutex;
  std::vector<std::string> wrong;
  std::map<std::string, int> classes;   // "upgrade: activated -> reverted"
  int cuts = 0, torn = 0;
  void say(const std::string& what) {
    std::lock_guard lock(mutex);
    wrong.push_back(what);
  }
  void count(const std::string& outcome, bool is_torn) {
    std::lock_guard lock(mutex);
    ++classes[outcome], ++cuts, torn += is_torn;
  }
};

// One instant of a session.
struct Cut {
  std::string image, where;
  std::size_t told = 0;   // bytes of the session's output that had left the host
  bool torn = false;
};

class Campaign {
 public:
  Campaign(FileSystem kind, Scene scene, unsigned seed, Findings& findings) : kind_(kind), scene_(scene), random_(seed), findings_(findings) {}

  void run(std::size_t at_most) {
    title_ = fmt::format("{}, {}", test::to_text(kind_), test::to_text(scene_));
    make_image(kind_, images_ / "disk");
    {
      Mounted mounted(kind_, images_ / "disk", h_.dir.path());
      script_ = prepare(scene_, h_);
    }
    copy_image(images_ / "disk", images_ / "base");
    record();
    if (cuts_.size() > at_most) {
      // From all over it; the first ones are where nothing had happened yet.
      std::vector<Cut> some;
      for (std::size_t i = 0; i < at_most; ++i) some.push_back(cuts_[((2 * i + 1) * cuts_.size() + random_() % cuts_.size()) / (2 * at_most)]);
      cuts_ = std::move(some);
    }
    for (const auto& cut : cuts_) look_at(cut);
  }

 private:
  std::vector<std::string> in_boot(int boot, std::vector<std::string> argv) {
    auto file = images_ / fmt::format("boot-{}", boot);
    put(file, fmt::format("00000000-0000-4000-8000-00000000000{}\n", boot));
    std::vector<std::string> words{"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c",
                                   "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"", file};
    words.insert(words.end(), argv.begin(), argv.end());
    return words;
  }

  // Goes through the session once and keeps an image after each call that changed the disk, and of flushes that were cut short.
  void record() {
    Mounted mounted(kind_, images_ / "disk", h_.dir.path());
    keep("before anything", 0);
    std::vector<std::string> argv{kProgram, "serve", "--root", h_.dir.path()};
    if (script_.input.empty()) argv = in_boot(1, {kProgram, "recover", "--root", h_.dir.path()});
    std::size_t told_before = 0;
    auto traced = step_trace(argv, script_.input, kNameCalls, Millis(60000), [&](const CallStop& stop) {
      auto before = cuts_[newest_].image;
      bool changed = keep(fmt::format("{} call {}, {}", stop.before ? "before" : "after", stop.n, stop.call), stop.output.size());
      if (stop.before) told_before = stop.output.size();
      else if (changed && kind_ == FileSystem::ext4) tear(before, fmt::format("in the middle of call {}, {}", stop.n, stop.call), told_before);
    });
    output_ = traced.output;
    if (auto reached = standing(scene_, script_, h_); traced.exit != 0 || reached != goal(scene_)) {
      findings_.say(fmt::format("{}: nothing cut it, and it ended with exit status {}, {}", title_, traced.exit, reached));
      for (const auto& frame : frames_in(output_))
        if (frame.contains("error")) findings_.say(json::serialize(frame));
    }
    keep("at its end", output_.size());
    if (auto pending = read_pending(h_.unit())) disarm(h_.host, *pending);
  }

  // False: the disk is as it was.
  bool keep(const std::string& where, std::size_t told) {
    auto image = images_ / fmt::format("cut-{}", cuts_.size());
    copy_image(images_ / "disk", image);
    if (!cuts_.empty() && same_image(image, cuts_[newest_].image)) {
      cuts_[newest_].told = told;  // more was said meanwhile
      std::remove(image.c_str());
      return false;
    }
    newest_ = cuts_.size();
    cuts_.push_back({image, where, told, false});
    return true;
  }

  void tear(const std::string& before, const std::string& where, std::size_t told) {
    for (int i = 0; i < (long_campaign() ? 8 : 1); ++i) {
      auto image = images_ / fmt::format("cut-{}", cuts_.size());
      make_torn_image(before, cuts_[newest_].image, static_cast<unsigned>(random_()), image);
      cuts_.push_back({image, where, told, true});
    }
  }

  void look_at(const Cut& cut) {
    auto at = title_ + ", " + cut.where;
    try {
      auto copy = images_ / "look";
      copy_image(cut.image, copy);
      Mounted mounted(kind_, copy, h_.dir.path());
      auto wrong = [&](const std::string& what) {
        if (!what.empty()) findings_.say(at + ": " + what);
        return !what.empty();
      };
      std::string stood = standing(scene_, script_, h_);
      auto phase = h_.state(script_.op).phase;
      if (wrong(wrong_at_once(scene_, script_, h_, frames_in(std::string_view(output_).substr(0, cut.told))))) return;
      recover_in_next_boot();
      if (wrong(wrong_when_recovered(scene_, script_, h_, phase))) return;
      if (scene_ != Scene::prune) stood += " -> " + standing(scene_, script_, h_);
      findings_.count(fmt::format("{}: {}", test::to_text(scene_), stood), cut.torn);
      wrong(wrong_afterwards(h_));
    } catch (const std::exception& e) {
      findings_.say(at + ": " + e.what());
    }
  }

  // As the boot unit does, or as the timer of a strong dead-man switch would.
  void recover_in_next_boot() {
    if (random_() % 2 == 0 && read_pending(h_.unit())) {
      auto end = run_process({.argv = in_boot(2, {kProgram, "deadman", "--state-dir", h_.host.layout.state, "--unit", "storefront", "--unit-root", "/srv", "--op",
                                                  script_.op, "--root", h_.dir.path(), "--now"})}, Millis(30000));
      if (!end.ok()) throw Error("deadman: " + end.text() + " " + end.output);
    }
    auto end = run_process({.argv = in_boot(2, {kProgram, "recover", "--root", h_.dir.path()})}, Millis(30000));
    if (!end.ok() || end.output.find("cannot") != end.output.npos) throw Error("recover: " + end.text() + " " + end.output);
  }

  ActivationHost h_;  // its folder is where all images are mounted: a host's journal holds absolute paths
  FileSystem kind_;
  Scene scene_;
  std::mt19937 random_;
  Findings& findings_;
  ImageFolder images_;
  std::string title_, output_;
  std::size_t newest_ = 0;  // of the cuts that are not torn
  Script script_;
  std::vector<Cut> cuts_;
};

struct Run {
  FileSystem kind;
  Scene scene;
};

void campaign(const std::vector<Run>& runs, std::size_t at_most, unsigned seed, Findings& findings) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i)
    workers.emplace_back([&] {
      try {
        keep_mounts_private();
        for (std::size_t n; (n = next++) < runs.size();) Campaign(runs[n].kind, runs[n].scene, seed + static_cast<unsigned>(n), findings).run(at_most);
      } catch (const std::exception& e) {
        findings.say(e.what());
      }
    });
  for (auto& w : workers) w.join();
}

// What must have happened for a long campaign to count.
const std::vector<std::string> kClasses{
    "first deployment: none -> none", "first deployment: intent -> failed_unchanged", "first deployment: intent, switched -> reverted",
    "first deployment: activated -> reverted", "first deployment: confirmed -> confirmed",
    "upgrade: none -> none", "upgrade: intent -> failed_unchanged", "upgrade: intent, switched -> reverted",
    "upgrade: activated -> reverted", "upgrade: confirmed -> confirmed",
    "rollback: none -> none", "rollback: intent -> failed_unchanged", "rollback: intent, switched -> confirmed",
    "rollback: activated -> confirmed", "rollback: confirmed -> confirmed",
    "rollback to a damaged release: none -> none", "rollback to a damaged release: intent, switched -> confirmed",
    "rollback to a damaged release: confirmed -> confirmed",
    "revert: activated -> reverted", "revert: reverting -> reverted", "revert: reverted -> reverted",
    "prune: 0 pruned", "prune: 1 pruned", "prune: 2 pruned",
    "fence and halt: free -> free", "fence and halt: fenced -> fenced", "fence and halt: fenced, halted -> fenced, halted"};

}  // namespace

TEST_CASE("the power goes at any instant of an operation: what the disk holds is a whole host with one verdict, and it goes on", "[power]") {
  std::vector<Run> runs;
  for (auto kind : {FileSystem::ext4, FileSystem::xfs}) {
    auto why = why_no_images(kind);
    if (why.empty() && !step_trace_works()) why = "this container does not let it trace";
    if (!why.empty()) {
      WARN("skipped: images of " << test::to_text(kind) << ": " << why);
      continue;
    }
    for (auto scene : kScenes)
      if (long_campaign() || kind == FileSystem::ext4 || scene == Scene::upgrade) runs.push_back({kind, scene});
  }
  if (runs.empty()) return;
  Findings findings;
  const unsigned seed = long_campaign() ? static_cast<unsigned>(boot_now().us) : 20261121;
  INFO("seed " << seed);
  campaign(runs, long_campaign() ? 100000 : 5, seed, findings);
  for (const auto& w : findings.wrong) FAIL_CHECK(w);
  auto line = fmt::format("power cuts: {} instants of {} operations, {} in the middle of a flush, seed {}", findings.cuts, runs.size(), findings.torn, seed);
  for (const auto& [outcome, n] : findings.classes) line += fmt::format("; {} {}", n, outcome);
  INFO(line);
  CHECK(findings.cuts >= static_cast<int>(runs.size()) * 2);
  if (long_campaign())
    for (const auto& wanted : kClasses) {
      INFO("never seen: " << wanted);
      CHECK(findings.classes[wanted] > 0);
    }
  total(line);
}
