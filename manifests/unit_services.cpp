#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "manifests/unit_draft.hpp"

namespace ripcord {
namespace {

Argv decode_argv(const Yaml& node, UnitDraft& draft) {
  Argv argv;
  if (!node) return argv;
  if (node.is_scalar()) {
    node.error("expected a list, found '" + node.string() + "': no shell is used, write [program, argument, ...]");
    return argv;
  }
  auto items = node.items();
  for (const auto& item : items) argv.push_back(template_text(item));
  if (node.is_list() && items.empty()) node.error("a program is missing");
  if (!argv.empty() && !argv[0].empty() && argv[0][0] != '/' && !argv[0].starts_with("${")) draft.programs.emplace_back(items[0], argv[0]);
  return argv;
}

// "http://ADDRESS[:PORT]/..." where the address is a number or localhost: the host program resolves no names.
void check_url(const Yaml& node, const std::string& url) {
  if (url.empty()) return;
  if (!url.starts_with("http://")) return node.error("a URL of the host itself is needed, beginning with http://");
  auto address = url.substr(7, url.find_first_of("/?", 7) - 7);
  if (address.find("${") != std::string::npos) return;
  auto colon = address.rfind(':');
  if (address.starts_with("[")) address = address.substr(0, address.find(']') + 1);
  else address = address.substr(0, colon);
  bool numeric = !address.empty() && address.find_first_not_of("0123456789.") == std::string::npos;
  if (!numeric && !address.starts_with("[") && address != "localhost")
    node.error(fmt::format("'{}': a numeric address or localhost is needed, checks run on the host and resolve no names", address));
}

void check_tcp(const Yaml& node, const std::string& target) {
  auto colon = target.rfind(':');
  auto port = colon == std::string::npos ? std::string() : target.substr(colon + 1);
  int number = 0;
  auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), number);
  bool good = port.find("${") != std::string::npos || (ec == std::errc() && end == port.data() + port.size() && number > 0 && number < 65536);
  if (!target.empty() && (!good || colon == 0)) node.error("ADDRESS:PORT is needed, for example 127.0.0.1:6379");
}

HealthCheck decode_check(const Yaml& node, UnitDraft& draft) {
  HealthCheck check;
  auto http = node.get("http"), tcp = node.get("tcp"), command = node.get("command");
  auto status = node.get("status"), contains = node.get("contains");
  if (node.is_map() && !!http + !!tcp + !!command != 1) node.error("a check is exactly one of http, tcp, command");
  if (http) {
    check.kind = HealthCheck::Kind::http;
    check_url(http, check.target = template_text(http));
    if (status) check.status = static_cast<int>(status.integer(100, 599));
    if (contains) check.contains = template_text(contains);
  } else if (tcp) {
    check.kind = HealthCheck::Kind::tcp;
    check_tcp(tcp, check.target = template_text(tcp));
  } else if (command) {
    check.kind = HealthCheck::Kind::command;
    check.command = decode_argv(command, draft);
  }
  if (!http && status) node.error_at_key("status", "'status' belongs to an http check");
  if (!http && contains) node.error_at_key("contains", "'contains' belongs to an http check");
  check.timeout = positive(node.get("timeout"), check.timeout);
  node.close();
  return check;
}

Service decode_service(const Yaml& node, UnitDraft& draft) {
  Service s;
  s.name = word(node.require("name"), "abcdefghijklmnopqrstuvwxyz0123456789", "._-", 48,
                "a service's name (lower-case letters, digits, '.', '_', '-')");
  auto run = node.get("run"), systemd = node.get("systemd");
  for (auto [key, action] : {std::pair("start", &s.start), {"stop", &s.stop}, {"restart", &s.restart}, {"reload", &s.reload}})
    if (auto v = node.get(key)) *action = decode_action(v, draft);
  bool start = !!node.get("start"), stop = !!node.get("stop");
  if (node.is_map() && !!run + !!systemd + start != 1) node.error("a service is started by exactly one of run, systemd, start");
  if (start && !stop) node.error("a service with start needs stop as well");
  if (!start)
    for (const auto* key : {"stop", "restart"})
      if (node.get(key)) node.error_at_key(key, fmt::format("'{}' goes with start: a service with {} is handled by ripcord", key, systemd ? "systemd" : "run"));
  if (systemd && node.get("reload")) node.error_at_key("reload", "a systemd service is reloaded by systemctl, this has no effect");

  s.run = decode_argv(run, draft);
  if (systemd) s.systemd = template_text(systemd);
  if (s.systemd.starts_with("-") || s.systemd.find_first_of("/ ") != std::string::npos) systemd.error(fmt::format("'{}' is not a systemd unit", s.systemd));
  if (auto v = node.get("pidfile")) {
    s.pidfile = absolute_template(v);
    if (!start) node.error_at_key("pidfile", "'pidfile' goes with start: ripcord finds the processes of other services itself");
  }
  if (auto v = node.get("log")) s.log = absolute_template(v);
  if (auto v = node.get("stop_deadline")) {
    s.stop_deadline = positive(v, s.stop_deadline);
    if (!run) node.error_at_key("stop_deadline", "'stop_deadline' goes with run; give the stop action a deadline");
  }
  if (auto change = node.get("on_change")) {
    if (auto v = change.require("config")) {
      s.on_config_change = v.one_of({"restart", "reload", "none"});
      if (s.on_config_change == "reload" && !s.reload && !systemd) v.error("this service has no reload action");
    }
    change.close();
  }
  node.close();
  return s;
}

}  // namespace

std::optional<Action> decode_action(const Yaml& node, UnitDraft& draft) {
  Action action;
  if (node.is_map()) {
    action.run = decode_argv(node.require("run"), draft);
    action.deadline = positive(node.get("deadline"), action.deadline);
    node.close();
  } else {
    action.run = decode_argv(node, draft);
  }
  return action;
}

void decode_services(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  auto& services = draft.spec.services;
  for (const auto& item : node.items()) {
    auto service = decode_service(item, draft);
    auto same = [&](const Service& other) { return other.name == service.name; };
    if (!service.name.empty() && std::any_of(services.begin(), services.end(), same))
      item.get("name").error(fmt::format("a second service '{}'", service.name));
    services.push_back(std::move(service));
  }
}

void decode_health(const Yaml& node, UnitDraft& draft) {
  auto& health = draft.spec.health;
  if (!node) {
    // Plain files: nothing runs, so there is nothing to watch.
    if (draft.spec.services.empty()) health.min_healthy_time = Millis(0);
    return;
  }
  for (const auto& item : node.require("checks").items()) health.checks.push_back(decode_check(item, draft));
  if (auto v = node.get("min_healthy_time"); v && (health.min_healthy_time = v.duration()) > Millis(86400000)) v.error("at most 24h");
  health.healthy_deadline = positive(node.get("healthy_deadline"), health.healthy_deadline);
  health.interval = positive(node.get("interval"), health.interval);
  if (health.min_healthy_time >= health.healthy_deadline)
    node.error_at_key(node.get("min_healthy_time") ? "min_healthy_time" : "healthy_deadline",
                      fmt::format("min_healthy_time ({}) must be shorter than healthy_deadline ({}), nothing could become healthy",
                                  format_duration(health.min_healthy_time), format_duration(health.healthy_deadline)));
  node.close();
}

void decode_running(const Yaml& node, UnitDraft& draft) {
  auto& running = draft.spec.running;
  if (!node) {
    if (draft.spec.services.empty()) running.by = Running::By::none;
    return;
  }
  auto by = node.require("by").one_of({"process", "exe_digest", "http", "none"});
  auto exe = node.get("exe"), url = node.get("url"), contains = node.get("contains");
  if (by == "exe_digest") running.by = Running::By::exe_digest;
  if (by == "http") running.by = Running::By::http;
  if (by == "none") running.by = Running::By::none;
  if (by == "exe_digest") draft.sources.emplace_back(exe, running.exe = release_path(node.require("exe")));
  else if (exe) node.error_at_key("exe", "'exe' belongs to by: exe_digest");
  if (by == "http") {
    check_url(url, running.url = template_text(node.require("url")));
    running.contains = template_text(node.require("contains"));
  } else {
    if (url) node.error_at_key("url", "'url' belongs to by: http");
    if (contains) node.error_at_key("contains", "'contains' belongs to by: http");
  }
  node.close();
}

}  // namespace ripcord
