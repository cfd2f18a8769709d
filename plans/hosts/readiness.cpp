#include "plans/hosts/readiness.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ripcord {
namespace {

constexpr Millis kNotKnown{1000};  // of a release that this host's journal never saw come up
constexpr Millis kSession{500};

Task<> look_at_one(HostPorts& ports, HostLook& out, UnitRef unit, Verify how, Slots& slots) {
  auto slot = co_await slots.acquire();
  try {
    out.look = co_await ports.port(out.host->name).look_back(std::move(unit), how, "");
  } catch (const LinkError& e) {
    out.fault_kind = e.fault(), out.fault_name = e.name(), out.fault = e.message(), out.hint = e.hint();
  } catch (const HostRefusal& e) {
    out.fault_kind = LinkFault::host, out.fault_name = e.code(), out.fault = e.message(), out.hint = e.hint();
  } catch (const Error& e) {
    out.fault_kind = LinkFault::host, out.fault_name = "protocol", out.fault = e.what(), out.hint = e.hint();
  }
}

BackState state_of(const Observation& o) {
  if (o.back_state == "verified") return BackState::ready;
  if (o.back_state == "damaged") return BackState::damaged;
  if (o.back_state == "missing") return BackState::missing;
  return BackState::none;
}

HostReadiness of_host(const HostLook& l) {
  HostReadiness r;
  r.host = l.host->name;
  if (!l.look) {
    r.why = l.fault;
    return r;
  }
  const auto& o = l.look->unit;
  r.state = state_of(o);
  if (r.state == BackState::none) return r;
  r.to = o.back ? o.back->version : "nothing";
  r.takes = Millis(std::clamp<std::int64_t>(o.back_ms, 0, 24 * 3600 * 1000));
  if (r.state == BackState::missing) r.why = fmt::format("release {} is not on the host", o.back->folder());
  if (r.state == BackState::damaged)
    r.why = o.back_findings.empty() ? "it is damaged" : fmt::format("'{}' {} {}", o.back_findings[0].path, o.back_findings[0].kind, o.back_findings[0].detail);
  return r;
}

}  // namespace

std::string_view to_text(BackState state) {
  switch (state) {
    case BackState::ready: return "ready";
    case BackState::damaged: return "damaged";
    case BackState::missing: return "missing";
    case BackState::none: return "none";
    case BackState::unknown: return "unknown";
  }
  return "unknown";
}

Readiness readiness(const std::vector<HostLook>& looks, int width) {
  Readiness out;
  Millis slowest{0};
  for (const auto& l : looks) {
    auto h = of_host(l);
    out.of += h.state != BackState::none;
    if (h.state == BackState::ready) {
      ++out.ready;
      ++out.to[h.to];
      slowest = std::max(slowest, h.takes.count() > 0 ? h.takes : kNotKnown);
    }
    if (h.state == BackState::damaged || h.state == BackState::missing) out.exit = worst(out.exit, Exit::mixed);
    if (h.state == BackState::unknown) out.exit = worst(out.exit, l.fault_kind == LinkFault::trust ? Exit::integrity : Exit::unreachable);
    out.hosts.push_back(std::move(h));
  }
  auto at_once = static_cast<std::size_t>(std::max(1, width));
  out.takes = (slowest + kSession) * static_cast<std::int64_t>((out.ready + at_once - 1) / at_once);
  return out;
}

std::size_t Readiness::count(BackState state) const {
  return static_cast<std::size_t>(std::count_if(hosts.begin(), hosts.end(), [&](const HostReadiness& h) { return h.state == state; }));
}

std::string Readiness::text() const {
  if (of == 0) return "no host has a release to go back to";
  std::string where;
  for (const auto& [version, count] : to) {
    if (!where.empty()) where += ", ";
    where += to.size() == 1 ? version : fmt::format("{} ({})", version, count);
  }
  auto seconds = Millis((takes.count() + 999) / 1000 * 1000);  // it is a guess: no more digits than that
  auto out = fmt::format("{} of {} hosts can go back now{}{}", ready, of, where.empty() ? "" : ", to " + where,
                         ready > 0 ? ", in about " + format_duration(seconds) : "");
  if (auto n = count(BackState::damaged)) out += fmt::format("; {} damaged", n);
  if (auto n = count(BackState::missing)) out += fmt::format("; {} missing it", n);
  if (auto n = count(BackState::unknown)) out += fmt::format("; {} did not answer", n);
  return out;
}

Task<std::vector<HostLook>> look_back_at(Loop& loop, HostPorts& ports, std::vector<const Host*> hosts, UnitRef unit, Verify how, std::size_t width) {
  std::vector<HostLook> looks(hosts.size());
  Slots slots(width);
  TaskGroup group(loop);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    looks[i].host = hosts[i];
    group.spawn(look_at_one(ports, looks[i], unit, how, slots));
  }
  co_await group.join();
  co_return looks;
}

}  // namespace ripcord
