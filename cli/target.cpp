#include "cli/target.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "cli/args.hpp"
#include "cli/debts.hpp"
#include "cli/ledger_check.hpp"
#include "cli/limit.hpp"
#include "cli/rollout_run.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_address.hpp"
#include "manifests/shared/seal.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/live_releases.hpp"
#include "plans/rollout/opening.hpp"

namespace ripcord::cli {
namespace {

bool is_folder(const std::string& path) {
  struct stat s {};
  return ::stat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode);
}

bool is_file(const std::string& path) {
  struct stat s {};
  return ::stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode);
}

bool looks_like_path(const std::string& text) { return text == "." || text == ".." || text.find('/') != std::string::npos; }

}  // namespace

ReleaseStore::Sealed seal_folder(Context& c, const std::string& folder, const Sealing& how) {
  std::string signature;
  auto sign = [&](const std::string& bytes) {
    if (how.key) signature = sign_with_ssh_keygen(*how.key, bytes);
    return signature;
  };
  auto sealed = c.store_for_writing().seal(folder, sign);
  if (sealed.already || !c.has_fleet_file()) return sealed;
  const auto& spec = sealed.manifest.spec;
  json::object entry{{"kind", "release.sealed"}, {"unit", spec.unit}, {"version", spec.version}, {"manifest", sealed.digest.hex()}};
  entry["signed_by"] =
      signature.empty() ? "" : verify_seal(c.store().sealed(sealed.digest).bytes, signature, "", kSealNamespace, c.now()).fingerprint;
  std::vector<json::object> bodies;
  bodies.push_back(std::move(entry));
  c.append(std::move(bodies));
  return sealed;
}

Digest find_release(const ReleaseStore& store, const std::string& unit, const std::optional<std::string>& version) {
  auto versions = store.versions(unit);
  if (versions.empty()) {
    auto units = store.units();
    auto near = did_you_mean(unit, units);
    throw Error(fmt::format("no release of unit '{}' is sealed here{}", escape_terminal(unit),
                            near ? fmt::format(", did you mean '{}'?", *near) : ""),
                units.empty() ? "`ripcord seal FOLDER` makes one" : "sealed units: " + join(units, ", "), Exit::refused);
  }
  if (!version) return versions.back().second;
  std::vector<std::string> names;
  for (const auto& [name, digest] : versions) {
    if (name == *version) return digest;
    names.push_back(name);
  }
  auto near = did_you_mean(*version, names);
  throw Error(fmt::format("{}@{} is not sealed here{}", escape_terminal(unit), escape_terminal(*version),
                          near ? fmt::format(", did you mean '{}'?", *near) : ""),
              fmt::format("sealed versions of {}: {}", unit, join(names, ", ")), Exit::refused);
}

bool names_folder(Context& c, const std::string& target) {
  if (!is_folder(target)) return false;
  return looks_like_path(target) || c.store().versions(target).empty();  // else a unit of that name; 'NAME/' is the folder
}

Digest resolve_release(Context& c, const std::string& target, const Sealing& how) {
  if (names_folder(c, target)) {
    auto sealed = seal_folder(c, target, how);
    const auto& spec = sealed.manifest.spec;
    c.out().note(
        fmt::format("{} {}@{} ({})", sealed.already ? "sealed before:" : "sealed", spec.unit, spec.version, sealed.digest.short_hex()));
    return sealed.digest;
  }
  if (is_file(target)) {
    if (!ReleaseStore::is_release_file(target))
      throw Error(fmt::format("'{}' is neither a release file nor a saved plan", escape_terminal(target)),
                  "`ripcord seal FOLDER -o FILE` writes release files, `ripcord plan TARGET --save FILE` writes plans", Exit::invalid_file);
    return c.store_for_writing().import_file(target);
  }
  if (looks_like_path(target))
    throw Error(fmt::format("there is no '{}'", escape_terminal(target)),
                "TARGET is UNIT, UNIT@VERSION, a unit folder, a release file or a saved plan", Exit::refused);
  auto at = target.find('@');
  if (at == std::string::npos) return find_release(c.store(), target, std::nullopt);
  return find_release(c.store(), target.substr(0, at), target.substr(at + 1));
}

void PlanOptions::declare(Arguments& a) {
  a.value("-m,--message", message, "WHY", "the reason; it goes into the ledger");
  a.value("--plan", plan_file, "FILE", "the plan (else plans/UNIT.yaml beside the fleet file, else the ladder)");
  a.value("--limit", limit, "SELECTOR", "only these hosts (a selector, or names: web-1,web-2); the others are owed");
  a.value("--key", key, "KEY", "when TARGET is a folder: sign the release with this key");
  a.flag("--hotfix", hotfix, "shorter bakes, every stage and check kept; needs -m");
  a.value("--unproven", unproven, "VERSION", "do not rehearse the way back to this release (several: 1.0,1.1); needs -m");
  a.value("--point-of-no-return", point_of_no_return, "FORMAT:N", "go on although what is replaced cannot read this; needs -m");
  a.value("--also-live", also_live, "VERSION", "a third version that may stay live meanwhile; needs -m");
  a.flag("--outside-window", outside_window, "do not wait for the plan's window; needs -m");
}

void PlanOptions::check() const {
  bool reason = message && !trim(*message).empty();
  if (hotfix && !reason) throw Error("--hotfix needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
  if (point_of_no_return && !reason) throw Error("--point-of-no-return needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
  for (const auto& point : point_of_no_return ? split(*point_of_no_return, ',') : std::vector<std::string>())
    if (!parse_format_version(point))
      throw Error(fmt::format("--point-of-no-return '{}' is not FORMAT:VERSION", escape_terminal(point)), "for example orders-db:7", Exit::usage);
  if (also_live && !reason) throw Error("--also-live needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
  if (unproven && !reason) throw Error("--unproven needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
  if (outside_window && !reason) throw Error("--outside-window needs a reason", "add -m 'why'; it goes into the ledger", Exit::usage);
}

std::vector<const Host*> hosts_of_unit(Context& c, const UnitSpec& unit) {
  auto hosts = c.fleet().select(Selector::parse(unit.hosts));
  if (hosts.empty())
    throw Error(fmt::format("no host of fleet '{}' matches 'hosts: {}' of unit '{}'", c.fleet().name, unit.hosts, unit.unit),
                "`ripcord hosts` shows the hosts and `ripcord show HOST` their labels", Exit::refused);
  return hosts;
}

namespace {

constexpr std::size_t kReadAtOnce = 100000;  // entries

void look_at_contract(Context& c, const ReleaseStore& store, const PlanOptions& options, const Prepared& p, ContractView& view) {
  const auto& unit = p.release.manifest.spec;
  if (options.point_of_no_return) view.point_of_no_return = split(*options.point_of_no_return, ',');
  if (options.also_live) view.also_live = split(*options.also_live, ',');
  if (ledger_exists(c.fleet().ledger)) view.live = live_versions(c.entries());
  if (unit.formats.empty()) return;
  view.others = live_parties(view.live, store, unit.unit, view.unknown);
  UnitRef ref{unit.unit, unit.root};
  view.replaced = c.wait(replaced_parties(c.ports(), store, p.looks, ref, p.release.digest, view.unknown));
}

// The other fleet's file: as it is written, or NAME for NAME.yaml, NAME/fleet.yaml or ../NAME/fleet.yaml beside this fleet's.
std::string other_fleet_file(const std::string& folder, const std::string& name) {
  std::vector<std::string> places{name.starts_with("/") ? name : folder + "/" + name};
  for (const char* form : {"{}/{}.yaml", "{}/{}/fleet.yaml", "{}/../{}/fleet.yaml"}) places.push_back(fmt::format(fmt::runtime(form), folder, name));
  for (const auto& place : places)
    if (is_file(place)) return place;
  throw Error(fmt::format("the plan requires fleet '{}', and its file is not at {}", name, join(places, " nor at ")),
              "name the fleet's file in `requires: {fleet: …}` of the plan", Exit::refused);
}

void require_completed_elsewhere(Context& c, const CompletedElsewhere& wanted, const ReleaseOnHand& release) {
  auto other = load_fleet(other_fleet_file(c.fleet().folder, wanted.fleet));
  const auto& unit = release.manifest.spec;
  std::vector<LedgerEntry> entries;
  if (ledger_exists(other.ledger)) {
    auto store = open_ledger(other.ledger, kLedgerPatience);
    for (auto some = store->read(0, kReadAtOnce); !some.empty(); some = store->read(entries.back().seq + 1, kReadAtOnce))
      entries.insert(entries.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  auto missing = not_completed(entries, other.name, unit.unit, release.digest, wanted.completed, c.now());
  if (missing)
    throw Error(fmt::format("the plan requires {}@{} to be completed on fleet '{}' first: {}", unit.unit, unit.version, other.name, *missing),
                fmt::format("`ripcord -f {} apply {}@{}`", shell_quote(other.file), unit.unit, unit.version), Exit::refused);
}

// Somebody names only hosts that are apart: they learn why, instead of that nothing matches.
void refuse_quarantined(Context& c, const Selector& limit, const Roll& roll) {
  if (std::any_of(roll.hosts.begin(), roll.hosts.end(), [&](const Host* h) { return limit.matches(h->labels); })) return;
  for (const auto& left : roll.quarantined)
    if (const auto* h = c.fleet().find(left.host); h && limit.matches(h->labels))
      throw Error(fmt::format("host '{}' is {}", left.host, left.why), fmt::format("nothing was changed; `{}` ends it", c.command("quarantine " + left.host + " --lift")),
                  Exit::refused);
}

// A copied file, a wrong address: leases, halts and debts of two fleets would be one.
void require_own_ledger(Context& c, const std::vector<LedgerEntry>& entries) {
  auto other = fleet_of_another(entries, c.fleet().name);
  if (!other.empty())
    throw Error(fmt::format("ledger '{}' is that of fleet '{}', and this is fleet '{}'", ledger_shown(c.fleet().ledger), escape_terminal(other), c.fleet().name),
                "nothing was changed; name this fleet's own with `ledger:` in the fleet file, or its name as it was: one ledger is for one fleet", Exit::integrity);
}

// What is owed, and what is known to be apart: for people, before they say yes.
void tell_debts(Prepared& p, const DebtBook& book) {
  const auto& unit = p.release.manifest.spec.unit;
  auto& findings = p.preflight.findings;
  for (const auto& left : p.preflight.spec.left_out)
    if (left.until_ms != 0) findings.push_back({left.host, "left out: " + left.why, false, Exit::done});
  for (const auto& d : book.of_unit(unit))
    if (d.kind != Debt::Kind::joined && d.kind != Debt::Kind::left_out) findings.push_back({d.host, "owed " + d.text(), false, Exit::done});
  for (const auto& l : p.looks) {
    auto by_host = book.intents.find(unit);
    if (!l.look || by_host == book.intents.end() || !by_host->second.contains(l.host->name)) continue;
    if (auto again = installed_again(by_host->second.at(l.host->name), *l.look); !again.empty())
      findings.push_back({l.host->name, again, false, Exit::done});
  }
}

}  // namespace

Prepared prepare(Context& c, const ReleaseStore& store, const Digest& digest, const PlanOptions& options) {
  Prepared p;
  p.release = load_release(store, digest);
  const auto& unit = p.release.manifest.spec;
  auto book = debts_of(c);
  auto roll = without_quarantined(c, book, hosts_of_unit(c, unit));
  const auto& hosts = roll.hosts;
  if (hosts.empty())
    throw Error(fmt::format("every host of '{}' is in quarantine or retired", unit.unit), "nothing was changed; `" + c.command("quarantine") + "` says until when", Exit::refused);

  auto file = options.plan_file.value_or(c.fleet().folder + "/plans/" + unit.unit + ".yaml");
  Plan plan;
  if (options.plan_file || exists(file)) {
    plan = load_plan(file, c.fleet());
    p.plan_name = file;
    if (!plan.unit.empty() && plan.unit != unit.unit)
      throw Error(fmt::format("plan '{}' is for unit '{}', not for '{}'", file, plan.unit, unit.unit), {}, Exit::refused);
  } else {
    plan = default_ladder(c.fleet(), hosts);
    p.plan_name = "ladder";
  }
  p.set_aside = plan.set_aside_drift;
  PreflightOptions preflight;
  preflight.hotfix = options.hotfix;
  preflight.outside_window = options.outside_window;
  preflight.who = c.who();
  preflight.why = options.message.value_or("");
  preflight.ledger_id = ledger_exists(c.fleet().ledger) ? c.ledger().id() : "";
  if (!preflight.ledger_id->empty()) require_own_ledger(c, c.entries());
  if (!preflight.ledger_id->empty()) preflight.proofs = standing_proofs(c.entries(), unit.unit);
  if (options.unproven) preflight.unproven = split(*options.unproven, ',');
  preflight.session_establishment = c.fleet().ssh.timeouts.total();
  preflight.left_out = roll.quarantined;
  if (options.limit) {
    preflight.limit = parse_limit(c.fleet(), *options.limit);
    refuse_quarantined(c, *preflight.limit, roll);
    if (std::none_of(hosts.begin(), hosts.end(), [&](const Host* h) { return preflight.limit->matches(h->labels); }))
      throw Error(fmt::format("--limit '{}' matches none of the {} hosts of {}", escape_terminal(*options.limit), hosts.size(), unit.unit),
                  no_match_hint(c.fleet(), *options.limit), Exit::refused);
  }
  p.seen = preflight.ledger_id->empty() ? 0 : c.ledger().store().size();
  UnitRef ref{unit.unit, unit.root};
  p.looks = look_aloud(c, hosts, ref, Verify::quick, true);
  look_at_contract(c, store, options, p, preflight.contract);
  if (plan.completed_elsewhere) require_completed_elsewhere(c, *plan.completed_elsewhere, p.release);
  p.preflight = make_preflight(c.fleet(), plan, p.release, store, p.looks, preflight, c.now());
  tell_debts(p, book);
  if (!preflight.ledger_id->empty())
    for (auto& lost : lost_commits(c, p.looks, unit.unit)) p.preflight.findings.push_back(std::move(lost));
  return p;
}

void refuse_open_rollouts(Context& c, const std::string& unit, const std::vector<const Host*>& hosts) {
  std::vector<std::string> names;
  for (const auto* h : hosts) names.push_back(h->name);
  auto entries = c.entries();
  require_own_ledger(c, entries);
  auto other = open_rollout_in_the_way(entries, unit, names);
  if (!other) return;
  auto runner = runner_of(c, other->unit);
  auto state = fold_rollout(entries, other->rollout);
  auto who = runner.alive(c.now()) ? "run by " + runner.text()
                                   : fmt::format("started by {} on {}, and no process runs it now", other->who, other->machine);
  throw Error(fmt::format("{}: {}; rollout {}, {}, since {}{}", other->text(), state ? verdict(*state, c.now()).text : other->version, other->rollout,
                          who, short_time(other->since, c.now()), other->why.empty() ? "" : ": " + other->why),
              fmt::format("`{}` goes on with it, `{}` brings its hosts back", c.command("resume " + other->unit), c.command("abort " + other->unit)),
              Exit::held);
}

void report_findings(Context& c, const Preflight& preflight) {
  Exit exit = Exit::done;
  std::vector<std::string> blocking;
  for (const auto& f : preflight.findings) {
    auto text = (f.host.empty() ? "" : f.host + ": ") + f.what;
    if (!f.blocks) {
      c.out().warn(text);
      continue;
    }
    blocking.push_back(text);
    exit = exit == Exit::done ? f.exit : worst(exit, f.exit);
  }
  if (blocking.empty()) return;
  auto first = blocking[0];
  if (blocking.size() > 1) first += fmt::format(" (and {})", count_of(blocking.size() - 1, "more finding"));
  for (std::size_t i = 1; i < blocking.size(); ++i) c.out().warn(blocking[i]);
  throw Error(first, "nothing was changed; `" + c.command("doctor") + "` says more about hosts", exit);
}

}  // namespace ripcord::cli
