#include "manifests/host/health.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "manifests/host/service.hpp"
#include "manifests/host/tcp_http.hpp"

namespace ripcord {
namespace {

// A round that begins just before the deadline gets this much: cut off at once it would say nothing about the service.
constexpr Millis kLastRound{1000};

// Empty: passed; else why not.
std::string probe(const ReleaseContext& release, const HealthCheck& check, Millis timeout) {
  try {
    if (check.kind == HealthCheck::Kind::command) {
      RunResult r = run_process(release.command(release.argv(check.command, "health command")), timeout);
      if (r.ok()) return "";
      std::string how = r.timed_out ? fmt::format("did not end within {}", format_duration(timeout)) : "ended with " + r.text();
      return release.mask(fmt::format("health: '{}' {}", join(check.command, " "), how)) + "\n" + release.mask(r.output, r.truncated);
    }
    std::string target = release.text(check.target, "health");
    if (check.kind == HealthCheck::Kind::tcp) {
      connect_tcp(parse_tcp_address(target), timeout);
      return "";
    }
    std::string contains = release.text(check.contains, "health");
    HttpAnswer answer = http_get(target, timeout, !contains.empty());
    if (answer.status != check.status)
      return release.mask(fmt::format("health: '{}' answered with status {}, expected {}", target, answer.status, check.status));
    if (answer.body.find(contains) == std::string::npos)
      return release.mask(fmt::format("health: the answer of '{}' does not hold '{}'", target, contains));
    return "";
  } catch (const Error& e) {
    return release.mask(std::string("health: ") + e.what());
  }
}

void sleep_for(Millis d) {
  if (d > Millis(0)) ::usleep(static_cast<useconds_t>(d.count() * 1000));
}

}  // namespace

StepOutcome check_health(const ReleaseContext& release, Millis limit) {
  Elapsed end = boot_now() + limit;
  if (auto ended = ended_service(release)) return StepOutcome::failed("health", *ended);
  for (const auto& check : release.spec.health.checks) {
    Millis left = std::clamp(end - boot_now(), Millis(1), check.timeout);
    if (auto why = probe(release, check, left); !why.empty()) return StepOutcome::failed("health", why);
  }
  return {true, "health", ""};
}

StepOutcome watch_health(const ReleaseContext& release, const RunningRule& rule, const Health& timing, Elapsed begin,
                         const std::function<void()>& each_round) {
  Elapsed end = begin + std::max(timing.healthy_deadline, timing.min_healthy_time);
  std::optional<Elapsed> healthy_since;
  StepOutcome last;
  std::string failed;  // what the newest round that failed said
  // A service needs some milliseconds to listen: look often at first, or every activation takes an interval longer than it must.
  Millis pause{10};
  while (true) {
    each_round();
    Elapsed round = boot_now();
    last = check_health(release, std::max(end - round, kLastRound));
    if (last.ok) {
      if (!healthy_since) healthy_since = round;
      Millis missing = timing.min_healthy_time - (boot_now() - *healthy_since);
      if (missing <= Millis(0)) {
        last = check_running(release, rule);
        if (last.ok) return {true, "health", ""};
        if (boot_now() >= end) return last;  // an old worker may take its time to end; the services stay healthy meanwhile
        sleep_for(std::min({pause, timing.interval, end - boot_now()}));
        pause = std::min(pause * 2, timing.interval);
        continue;
      }
      if (boot_now() >= end)
        return StepOutcome::failed("health", fmt::format("not healthy for {} without a gap within {}, only for the last {}{}",
                                                         format_duration(timing.min_healthy_time),
                                                         format_duration(timing.healthy_deadline),
                                                         format_duration(boot_now() - *healthy_since), failed.empty() ? "" : "; before that: " + failed));
      sleep_for(std::min({missing, timing.interval, std::max(end - boot_now(), Millis(1))}));
      continue;
    }
    if (ended_service(release)) return last;
    healthy_since.reset();
    failed = last.output;
    if (boot_now() >= end) {
      last.output = fmt::format("not healthy within {}: {}", format_duration(timing.healthy_deadline), last.output);
      return last;
    }
    sleep_for(std::min({pause, timing.interval, std::max(end - boot_now(), Millis(1))}));
    pause = std::min(pause * 2, timing.interval);
  }
}

}  // namespace ripcord
