#include "manifests/shared/unit_spec.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "manifests/shared/fields.hpp"
#include "manifests/shared/manifest.hpp"

namespace ripcord {

static std::string_view to_text(HealthCheck::Kind k) {
  return k == HealthCheck::Kind::http ? "http" : k == HealthCheck::Kind::tcp ? "tcp" : "command";
}
static bool from_text(std::string_view text, HealthCheck::Kind& k) {
  for (auto each : {HealthCheck::Kind::http, HealthCheck::Kind::tcp, HealthCheck::Kind::command})
    if (to_text(each) == text) return k = each, true;
  return false;
}

static std::string_view to_text(Running::By by) {
  return by == Running::By::process ? "process" : by == Running::By::exe_digest ? "exe_digest" : by == Running::By::http ? "http" : "none";
}
static bool from_text(std::string_view text, Running::By& by) {
  for (auto each : {Running::By::process, Running::By::exe_digest, Running::By::http, Running::By::none})
    if (to_text(each) == text) return by = each, true;
  return false;
}

// The order here is the order in the sealed bytes: append, never reorder.
static void fields(auto& f, Of<Action> auto& a) {
  f.need("run", a.run);
  f.maybe("deadline_ms", a.deadline, Action{}.deadline);
}

static void fields(auto& f, Of<Service> auto& s) {
  static const Service d;
  f.need("name", s.name);
  f.maybe("run", s.run);
  f.maybe("systemd", s.systemd);
  f.maybe("start", s.start);
  f.maybe("stop", s.stop);
  f.maybe("restart", s.restart);
  f.maybe("reload", s.reload);
  f.maybe("pidfile", s.pidfile);
  f.maybe("log", s.log);
  f.maybe("stop_deadline_ms", s.stop_deadline, d.stop_deadline);
  f.maybe("on_config_change", s.on_config_change, d.on_config_change);
}

static void fields(auto& f, Of<HealthCheck> auto& c) {
  static const HealthCheck d;
  f.need("kind", c.kind);
  f.maybe("target", c.target);
  f.maybe("command", c.command);
  f.maybe("status", c.status, d.status);
  f.maybe("contains", c.contains);
  f.maybe("timeout_ms", c.timeout, d.timeout);
}

static void fields(auto& f, Of<Health> auto& h) {
  static const Health d;
  f.maybe("checks", h.checks);
  f.maybe("min_healthy_time_ms", h.min_healthy_time, d.min_healthy_time);
  f.maybe("healthy_deadline_ms", h.healthy_deadline, d.healthy_deadline);
  f.maybe("interval_ms", h.interval, d.interval);
}

static void fields(auto& f, Of<Running> auto& r) {
  f.maybe("by", r.by, Running{}.by);
  f.maybe("exe", r.exe);
  f.maybe("url", r.url);
  f.maybe("contains", r.contains);
}

static void fields(auto& f, Of<PlacedFile> auto& p) {
  f.need("from", p.from);
  f.need("to", p.to);
  f.maybe("owner", p.owner);
  f.maybe_mode("mode", p.mode, PlacedFile{}.mode);
}

static void fields(auto& f, Of<Format> auto& x) {
  f.need("reads", x.reads);
  f.need("writes", x.writes);
}

static void fields(auto& f, Of<IgnoreRule> auto& i) {
  f.need("path", i.path);
  f.maybe("owner", i.owner);
  f.maybe("reason", i.reason);
  f.maybe("until", i.until);
}

static void fields(auto& f, Of<UnitSpec> auto& s) {
  f.need("unit", s.unit);
  f.need("version", s.version);
  f.need("hosts", s.hosts);
  f.maybe("root", s.root, std::string("/srv"));
  f.maybe("owner", s.owner);
  f.maybe("code", s.code);
  f.maybe("config", s.config);
  f.maybe("persist", s.persist);
  f.maybe("files", s.files);
  f.maybe("services", s.services);
  f.maybe("drain", s.drain);
  f.maybe("undrain", s.undrain);
  f.maybe("health", s.health);
  f.maybe("running", s.running);
  f.maybe("formats", s.formats);
  f.maybe("requires", s.requires_units);
  f.maybe("drift_ignore", s.drift_ignore);
  f.maybe("secrets", s.secrets);
  f.maybe("allow_setuid", s.allow_setuid, false);
  f.maybe("allow_twins", s.allow_twins, false);
}

namespace {

bool plain_word(std::string_view text, std::string_view more) {
  auto alnum = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !text.empty() && text.size() <= 100 && alnum(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return alnum(c) || more.find(c) != std::string_view::npos; });
}

// What a host relies on when it makes paths out of a spec. The finer checks, with lines and carets, are the YAML decoder's.
void check_paths(const UnitSpec& s) {
  if (!valid_unit_name(s.unit)) throw Error(fmt::format("'{}' is not a unit's name", escape_terminal(s.unit)));
  if (!valid_version(s.version)) throw Error(fmt::format("'{}' is not a version", escape_terminal(s.version)));
  if (s.root.empty() || s.root[0] != '/') throw Error(fmt::format("root '{}' is not an absolute path", escape_terminal(s.root)));
  if (s.root.size() > 1) check_release_path(std::string_view(s.root).substr(1));
  for (const auto& [arch, folder] : s.code) {
    if (!plain_word(arch, "_-")) throw Error(fmt::format("'{}' is not an architecture", escape_terminal(arch)));
    check_release_path(folder);
  }
  if (!s.config.empty()) check_release_path(s.config);
  for (const auto& p : s.persist) check_release_path(p);
  for (const auto& p : s.files) check_release_path(p.from);
  for (const auto& service : s.services)
    if (!plain_word(service.name, "._-@")) throw Error(fmt::format("'{}' is not a service's name", escape_terminal(service.name)));
}

}  // namespace

bool valid_unit_name(std::string_view name) { return plain_word(name, "._-"); }
bool valid_version(std::string_view version) { return plain_word(version, "._-+~"); }

json::object to_json(const UnitSpec& spec) {
  FieldWriter w;
  fields(w, spec);
  return std::move(w.object);
}

UnitSpec unit_spec_from_json(const json::object& o) {
  UnitSpec spec;
  FieldReader r(o, true);
  fields(r, spec);
  r.finish();
  check_paths(spec);
  return spec;
}

Millis activation_bound(const UnitSpec& spec, Millis session_establishment) {
  auto deadline = [](const std::optional<Action>& a, Millis otherwise) { return a ? a->deadline : otherwise; };
  Millis bound = spec.health.healthy_deadline + spec.health.min_healthy_time + 2 * session_establishment + Millis(10000);
  for (const auto& s : spec.services) {
    Millis start = deadline(s.start, Action{}.deadline);
    bound += deadline(s.stop, s.stop_deadline) + std::max(start, deadline(s.restart, start));
  }
  return bound;
}

}  // namespace ripcord
