#include "manifests/host/requests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/base/text.hpp"
#include "manifests/host/activation.hpp"
#include "manifests/host/adopt.hpp"
#include "manifests/host/fetch.hpp"
#include "manifests/host/halt.hpp"
#include "manifests/host/observe.hpp"
#include "manifests/host/prune.hpp"
#include "manifests/host/scan.hpp"
#include "manifests/host/scan_diff.hpp"

namespace ripcord {
namespace {

constexpr std::array<std::string_view, 11> kWriting{"adopt", "stage_pack", "activate", "finish", "confirm", "fence", "stage_offer", "halt", "unhalt", "mend", "prune"};
constexpr std::array<std::string_view, 10> kLong{"stage_pack", "activate", "finish", "health", "fetch", "halt", "scan", "mend", "have", "prune"};
constexpr std::array<std::string_view, 2> kOfTheHost{"halt", "unhalt"};  // not of one unit, and never held up by one

template <std::size_t N>
bool in(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What cannot be read out of a request is the controller's mistake, not an internal one.
template <class Read>
auto read(Read from_json) {
  try {
    return from_json();
  } catch (const HostFailure&) {
    throw;
  } catch (const Error& e) {
    throw HostFailure("bad_request", fmt::format("the request cannot be read: {}", e.what()));
  }
}

// {"unit": name, "root": path}, or the same as an object in "unit" where the request is one of messages.hpp.
UnitRef unit_of(const json::object& request) {
  return read([&] {
    const auto* unit = request.if_contains("unit");
    return unit_ref_from_json(unit && unit->is_object() ? unit->get_object() : request);
  });
}

std::string word(const json::object& request, std::string_view key) {
  return read([&] { return get_string(request, key); });
}

std::int64_t number(const json::object& request, std::string_view key) {
  return read([&] { return get_int(request, key); });
}

std::int64_t number_or(const json::object& request, std::string_view key, std::int64_t fallback) {
  return read([&] { return get_int_or(request, key, fallback); });
}

bool flag(const json::object& request, std::string_view key) {
  return read([&] { return get_bool_or(request, key, false); });
}

std::vector<Digest> digests(const json::object& request, std::string_view key) {
  std::vector<Digest> out;
  for (const auto& text : get_strings(request, key)) out.push_back(Digest::require(text));
  return out;
}

json::array hex_of(const std::vector<Digest>& digests) {
  json::array out;
  for (const auto& d : digests) out.emplace_back(d.hex());
  return out;
}

json::object have(const HostContext& host, const json::object& request) {
  LocalObjects objects(host.layout.unit(unit_of(request)));
  return {{"have", hex_of(have_of(objects, read([&] { return digests(request, "objects"); })))}};
}

std::optional<LookBack> look_back_of(const json::object& request) {
  return read([&]() -> std::optional<LookBack> {
    auto how = verify_from_text(get_string_or(request, "back", "none"));
    if (how == Verify::none) return std::nullopt;
    return LookBack{how, get_string_or(request, "back_to", "")};
  });
}

json::object fetch(const HostContext& host, const json::object& request, std::optional<Requests::DataOut>& data) {
  auto objects = std::make_shared<LocalObjects>(host.layout.unit(unit_of(request)));
  auto have = have_of(*objects, read([&] { return digests(request, "objects"); }));
  json::object reply{{"have", hex_of(have)}};
  data = [objects, have = std::move(have)](const std::function<void(std::string_view)>& part) { send_pack(*objects, have, part); };
  return reply;
}

json::object halt(HostContext& host, const json::object& request) {
  auto wanted = read([&] { return halt_from_json(get_object(request, "halt")); });
  raise_halt(host, wanted);
  return {{"halted", to_json(*halt_flag(host))}};  // read back
}

Adoption adoption_of(const json::object& request) {
  return read([&] {
    return Adoption{get_int(request, "epoch"), get_string(request, "holder"), get_string(request, "ledger_id"), get_string_or(request, "who", ""),
                    get_string_or(request, "why", "")};
  });
}

json::object unhalt(HostContext& host) {
  auto was = lift_halt(host);
  json::object reply{{"was", nullptr}};
  if (was) reply["was"] = to_json(*was);
  return reply;
}

json::object health_reply(const HealthRound& round) {
  return {{"healthy", round.healthy}, {"detail", round.detail}, {"failed_step", round.failed_step}, {"output", round.output},
          {"log_tail", round.log_tail}};
}

json::object logs_reply(const std::vector<ServiceLog>& logs) {
  json::array services;
  for (const auto& log : logs) services.push_back(json::object{{"name", log.name}, {"log", log.log}});
  return {{"services", std::move(services)}};
}

}  // namespace

bool Requests::may_take_long(const HostContext& host, const std::string& name, const json::object& request) const {
  if (in(kLong, name)) return true;
  if (name == "hello" || name == "bye") return false;
  try {
    if (name == "observe" && (get_string_or(request, "verify", "none") == "full" || get_string_or(request, "back", "none") == "full" ||
                              get_bool_or(request, "process", false)))
      return true;
    // Something is armed: an overdue revert may come first, with hooks and health checks in it.
    return exists(host.layout.unit(unit_of(request)).pending());
  } catch (const Error&) {
    return false;
  }
}

void Requests::before(HostContext& host, const std::string& name, const json::object& request) {
  if (name == "hello" || name == "bye") return;
  if (in(kWriting, name) && host.read_only && name != "stage_offer" && name != "prune")
    throw HostFailure("read_only", fmt::format("'{}' changes the host, and this session may only look", name),
                      "it was started with --read-only; use a connection without it");
  if (in(kOfTheHost, name)) return;
  // Idempotent, and first at every session that may write (INVARIANTS, "Activation on a host").
  if (in(kWriting, name) && !host.read_only && !recovered_) {
    recovered_ = true;
    if (!recover(host).empty()) host.event("recovered");
  }
  if (name == "scan") return;  // of many units, each looked at by itself
  execute_overdue(host, unit_of(request));
}

// A unit whose journal cannot be read has nothing overdue that could be executed: the scan says what is wrong with it.
static json::object scan_units(HostContext& host, const json::object& request) {
  auto wanted = read([&] { return scan_request_from_json(request); });
  for (const auto& unit : wanted.units) {
    try {
      execute_overdue(host, unit);
    } catch (const HostFailure&) {
    }
  }
  return to_json(scan(host, wanted));
}

static json::object diffs(HostContext& host, const UnitRef& ref, const json::object& request) {
  auto files = read([&] {
    std::vector<ExpectedText> out;
    for (const auto& f : get_array(request, "files")) {
      if (!f.is_object()) throw Error("a file is no object");
      out.push_back({get_string(f.get_object(), "path"), get_string(f.get_object(), "text")});
    }
    return out;
  });
  return {{"diffs", to_json_array(scan_diff(host, ref, files))}};
}

json::object Requests::answer(HostContext& host, const std::string& name, const json::object& request, const PackParts& parts,
                              std::optional<DataOut>& data) {
  before(host, name, request);
  if (name == "hello") return to_json(hello(host, deadman_strength(host)));
  if (name == "bye") return {};
  if (name == "halt") return halt(host, request);
  if (name == "unhalt") return unhalt(host);
  if (name == "scan") return scan_units(host, request);
  auto ref = unit_of(request);
  if (name == "scan_diff") return diffs(host, ref, request);
  if (name == "observe") {
    auto verify = read([&] { return verify_from_text(get_string_or(request, "verify", "none")); });
    return to_json(observe(host, ref, verify, flag(request, "process"), look_back_of(request)));
  }
  if (name == "stage_offer") {
    auto offer = read([&] { return stage_offer_from_json(request); });
    return to_json(stage_offer(host, offer, offer_));
  }
  if (name == "stage_pack") {
    if (!offer_ || offer_->offer.unit.unit != ref.unit)
      throw HostFailure("bad_request", fmt::format("no offer of unit '{}' is open in this session", escape_terminal(ref.unit)),
                        "send stage_offer first, on the same session");
    auto offer = std::move(*offer_);
    offer_.reset();
    return to_json(stage_pack(host, offer, parts));
  }
  if (name == "activate") {
    auto activation = read([&] { return activate_request_from_json(request); });
    return to_json(activate(host, activation));
  }
  if (name == "finish") return to_json(finish(host, ref, word(request, "op")));
  if (name == "state") return to_json(operation_state(host, ref, word(request, "op")));
  if (name == "confirm")
    return to_json(confirm(host, ref, word(request, "op"), number(request, "epoch"), word(request, "holder")));
  if (name == "fence") {
    auto now = fence(host, read([&] { return fence_request_from_json(request); }));
    // What is there once nobody else may change it any more: saves the one who fences a round trip, and a guess.
    json::object reply = flag(request, "observe") ? to_json(observe(host, ref, Verify::none, false, look_back_of(request))) : json::object();
    reply["epoch"] = now.epoch, reply["holder"] = now.holder;
    return reply;
  }
  if (name == "adopt") return {{"was", adopt(host, ref, adoption_of(request))}};
  if (name == "health") return health_reply(health_round(host, ref));
  if (name == "logs")
    return logs_reply(service_logs(host, ref, static_cast<std::size_t>(std::clamp<std::int64_t>(number_or(request, "lines", 50), 1, 10000))));
  if (name == "journal") return {{"records", to_json_array(journal_lines(host, ref, number_or(request, "after", 0)))}};
  if (name == "fetch") return fetch(host, request, data);
  if (name == "prune") return to_json(prune(host, read([&] { return prune_request_from_json(request); })));
  if (name == "have") return have(host, request);
  if (name == "mend") return to_json(mend(host, ref, read([&] { return release_id_from_json(get_object(request, "release")); }), offer_));
  if (name == "fetch_manifest") {
    auto manifest = read([&] { return Digest::require(get_string(request, "manifest")); });
    auto sealed = find_manifest(host.layout.unit(ref), manifest);
    return {{"manifest", sealed.bytes}, {"signature", sealed.signature}};
  }
  throw HostFailure("bad_request", fmt::format("this host program knows no request '{}'", escape_terminal(name.substr(0, 80))),
                    "controller and host program are of different versions");
}

}  // namespace ripcord
