#include "plans/files/fleet.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/base/files.hpp"
#include "core/net/ledger_address.hpp"
#include "core/net/yaml.hpp"
#include "plans/files/fleet_hosts.hpp"
#include "plans/files/inventory.hpp"
#include "plans/files/persistence.hpp"

namespace ripcord {
namespace {

std::string home_folder() {
  if (const char* home = std::getenv("HOME"); home && *home == '/') return home;
  const passwd* user = ::getpwuid(::getuid());
  return user && user->pw_dir ? user->pw_dir : "";
}

// A path on this machine: ~/ is the home folder, relative ones start at the fleet file.
std::string resolved(const Yaml& node, const std::string& folder) {
  auto path = node.string();
  if (path.empty() || path[0] == '/') return path;
  if (path[0] != '~') return folder + "/" + path;
  if (path != "~" && path[1] != '/') {
    node.error("only '~/' is understood, not another user's home");
    return {};
  }
  auto home = home_folder();
  if (home.empty()) node.error("'~' cannot be expanded: HOME is not set");
  return home + path.substr(1);
}

std::string resolved_or(const Yaml& node, const std::string& folder, const std::string& fallback) {
  return node ? resolved(node, folder) : fallback;
}

// A file that is used because it lies beside the fleet file: another machine with a copy of the folder has it as well.
std::string beside(const std::string& folder, const std::string& name) {
  auto path = folder + "/" + name;
  return exists(path) ? path : "";
}

Millis timeout(const Yaml& node, Millis fallback) {
  if (!node) return fallback;
  auto d = node.duration();
  if (d.count() != 0 && (d < Millis(100) || d > Millis(600000))) node.error("a timeout is between 100ms and 10m");
  return d;
}

std::string state_dir(const Yaml& node) {
  if (!node) return {};
  auto path = node.string();
  if (!path.empty() && path[0] != '/') node.error("an absolute path on the hosts is needed");
  return path;
}

// Returns state_dir, which is a host's setting.
std::string decode_ssh(const Yaml& node, Fleet& fleet) {
  auto& ssh = fleet.ssh;
  std::string on_hosts;
  if (node) {
    if (auto v = node.get("user"); v && !is_user(ssh.user = v.string()) && !ssh.user.empty()) v.error(fmt::format("'{}' is not a user's name", ssh.user));
    if (auto v = node.get("port")) ssh.port = static_cast<int>(v.integer(1, 65535));
    if (auto v = node.get("become"); v && (ssh.become = v.one_of({"sudo", "none"})) == "none") ssh.become.clear();
    ssh.identity = resolved_or(node.get("identity"), fleet.folder, "");
    ssh.known_hosts = resolved_or(node.get("known_hosts"), fleet.folder, "");
    ssh.config = resolved_or(node.get("config"), fleet.folder, "");
    on_hosts = state_dir(node.get("state_dir"));
    if (auto t = node.get("timeouts")) {
      ssh.timeouts.connect = timeout(t.get("connect"), ssh.timeouts.connect);
      ssh.timeouts.handshake = timeout(t.get("handshake"), ssh.timeouts.handshake);
      ssh.timeouts.auth = timeout(t.get("auth"), ssh.timeouts.auth);
      t.close();
    }
    if (auto v = node.get("heartbeat"); v && ((ssh.heartbeat = v.duration()) < Millis(100) || ssh.heartbeat > Millis(60000)))
      v.error("a heartbeat is between 100ms and 1m");
    if (auto v = node.get("max_handshakes")) ssh.max_handshakes = static_cast<int>(v.integer(1, 1000));
    if (auto v = node.get("max_sessions")) ssh.max_sessions = static_cast<int>(v.integer(1, 10000));
    node.close();
  }
  if (ssh.known_hosts.empty()) ssh.known_hosts = beside(fleet.folder, "known_hosts");
  if (ssh.config.empty()) ssh.config = beside(fleet.folder, "ssh_config");
  return on_hosts;
}

// libpq's other form (host=… password=…) would else be taken for a path, and the password made a file's name.
bool is_libpq_words(const std::string& text) {
  static const std::set<std::string> kWords{"host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslmode"};
  return kWords.contains(std::string(trim(text.substr(0, text.find('=')))));
}

// The value may hold a password: it is not repeated here, and masked in the line shown.
void decode_address(const Yaml& ledger, Fleet& fleet) {
  fleet.ledger = ledger.string();
  if (!is_postgres_address(fleet.ledger)) return ledger.error("a ledger is a file on this machine or a PostgreSQL database (postgresql://HOST/DATABASE)");
  try {
    check_postgres_address(fleet.ledger);
  } catch (const Error& e) {
    ledger.error(e.message() + "; signs like @ : / % in a password are written as %40 %3A %2F %25");
  }
}

Fleet decode(YamlFile& file, const std::string& path) {
  Fleet fleet;
  fleet.file = absolute_path(path);
  fleet.folder = parent_dir(fleet.file);
  auto root = file.root();
  if (root) {
    auto name = root.require("fleet");
    fleet.name = name.string();
    if (!fleet.name.empty() && !is_host_name(fleet.name))
      name.error(fmt::format("'{}' is not a fleet's name (lower-case letters, digits, '.', '_', '-')", fleet.name));
    if (auto v = root.get("protected")) fleet.is_protected = v.boolean();
    if (auto v = root.get("link"); v && v.one_of({"ssh", "local"}) == "local") fleet.link = Fleet::LinkKind::local;

    auto ledger = root.get("ledger");
    if (ledger.is_scalar() && (ledger.string().find("://") != std::string::npos || is_libpq_words(ledger.string())))
      decode_address(ledger, fleet);
    else
      fleet.ledger = resolved_or(ledger, fleet.folder, fleet.folder + "/.ripcord/ledger.db");
    fleet.store = resolved_or(root.get("store"), fleet.folder, fleet.folder + "/.ripcord/store");

    fleet.local_dir = fleet.folder + "/hosts";
    if (auto local = root.get("local")) {
      fleet.local_dir = resolved_or(local.get("dir"), fleet.folder, fleet.local_dir);
      local.close();
    }
    if (auto drift = root.get("drift")) {
      if (auto v = drift.get("persist")) {
        fleet.drift_persist = v.string();
        try {
          Persistence::parse(fleet.drift_persist);
        } catch (const Error& e) {
          v.error(e.message());
        }
      }
      drift.close();
    }
    auto on_hosts = decode_ssh(root.get("ssh"), fleet);
    auto labels = root.get("labels");
    auto for_all = labels ? decode_labels(labels) : Labels();
    decode_datacenters(root.require("datacenters"), for_all, on_hosts, fleet);
    root.close();
  }
  file.finish();
  return fleet;
}

}  // namespace

const Host* Fleet::find(const std::string& host) const {
  auto found = std::find_if(hosts.begin(), hosts.end(), [&](const Host& h) { return h.name == host; });
  return found == hosts.end() ? nullptr : &*found;
}

std::vector<const Host*> Fleet::select(const Selector& selector) const {
  std::vector<const Host*> out;
  for (const auto& host : hosts)
    if (selector.matches(host.labels)) out.push_back(&host);
  return out;
}

Fleet decode_fleet(const std::string& path, std::string text) {
  YamlFile file(path, std::move(text));
  return decode(file, path);
}

Fleet load_fleet(const std::string& path) {
  if (is_inventory_program(path)) {
    YamlFile printed(path, run_inventory(path), kMaxInventory);
    return decode(printed, path);
  }
  auto file = YamlFile::load(path);
  return decode(file, path);
}

}  // namespace ripcord
