// What a unit's author says about it, as sealed: the decoded unit.yaml in a canonical JSON form that the host program reads.
// The YAML form and its checks are in manifests/unit_file.hpp; the words are in docs/files.md.
//
// Strings marked [template] may hold ${variables}: labels of the host and host, datacenter, fleet, unit, version, address,
// release (absolute path of the release folder), current (absolute path of the link), shared (absolute path of persist:
// folders). An unknown variable is an Error. "$${" writes a literal "${".
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/json.hpp"
#include "core/base/text.hpp"

namespace ripcord {

using Labels = std::map<std::string, std::string>;
using Argv = std::vector<std::string>;

struct Action {                  // one step that a unit asks for, run without a shell
  Argv run;                      // [template]; a relative argv[0] is taken from the release folder; cwd is the release folder
  Millis deadline{30000};
};

// One process (group) of the unit. Exactly one of: run, systemd, start+stop.
struct Service {
  std::string name;
  Argv run;                      // [template] ripcord starts it detached (own session, output to `log`) and stops it by signal
  std::string systemd;           // [template] unit name: systemctl start|stop|restart|reload
  std::optional<Action> start, stop, restart, reload;  // restart defaults to stop + start
  std::string pidfile;           // [template] where start writes the process id, if it does
  std::string log;               // [template] file whose last lines are kept when a step fails; run: default <state>/<unit>/<name>.log
  Millis stop_deadline{10000};   // run: SIGTERM, then SIGKILL after this
  std::string on_config_change = "restart";  // restart | reload | none: when only files under config/ changed
};

struct HealthCheck {
  enum class Kind { http, tcp, command };
  Kind kind = Kind::http;
  std::string target;            // [template] http: URL with a numeric address or localhost; tcp: address:port
  Argv command;                  // [template]
  int status = 200;              // http
  std::string contains;          // [template] http: the body must hold it; empty: not looked at
  Millis timeout{2000};          // one attempt
};

struct Health {
  std::vector<HealthCheck> checks;
  Millis min_healthy_time{10000};    // every check passes for this long without a gap
  Millis healthy_deadline{300000};   // and that within this long after the restart
  Millis interval{1000};
};

// How to know that the process really runs this release.
struct Running {
  enum class By { process, exe_digest, http, none };
  By by = By::process;               // process: each service process's exe, cwd or a mapped file lies in the release, and it
                                     // started after the switch
  std::string exe;                   // exe_digest: path in the release whose content the process's executable must have
  std::string url, contains;         // [template] http: the body must contain this
};

struct PlacedFile {                  // a file that must lie elsewhere; copied, never linked
  std::string from;                  // path in the release
  std::string to;                    // [template] absolute path on the host
  std::string owner;                 // user[:group]; empty: the user the host program runs as
  unsigned mode = 0644;
};

struct Format {
  std::set<int> reads;
  int writes = 0;                    // 0: does not write it
};

struct IgnoreRule {
  std::string path;                  // glob in the release
  std::string owner, reason, until;  // until: YYYY-MM-DD
};

struct UnitSpec {
  std::string unit, version;
  std::string hosts;                 // selector: which hosts carry it
  std::string root = "/srv";         // the unit lives in <root>/<unit>
  std::string owner;                 // user[:group] of the release's files; empty: as run
  std::map<std::string, std::string> code;  // arch (uname -m) or "any" -> folder of the unit
  std::string config;                // folder of the unit with common/, datacenter/, role/, host/; empty: none
  std::vector<std::string> persist;  // folders that survive releases: <release>/<p> links to <root>/<unit>/shared/<p>
  std::vector<PlacedFile> files;
  std::vector<Service> services;
  std::optional<Action> drain, undrain;
  Health health;
  Running running;
  std::map<std::string, Format> formats;
  std::map<std::string, std::string> requires_units;  // unit -> version
  std::vector<IgnoreRule> drift_ignore;
  std::vector<std::string> secrets;  // host paths of files whose lines are masked in everything that is kept
  bool allow_setuid = false;
  bool allow_twins = false;   // paths that differ only by case or Unicode normal form
};

// What may name a unit and a version: 1 to 100 letters, digits, '.', '_', '-' (a version also '+' and '~'), the first a letter or
// a digit. Both become folder names on hosts.
bool valid_unit_name(std::string_view name);
bool valid_version(std::string_view version);

// Canonical: members in a fixed order, defaults left out; the same spec gives the same bytes.
json::object to_json(const UnitSpec& spec);
UnitSpec unit_spec_from_json(const json::object& o);  // Error on anything unknown or mistyped

// The longest time that an activation of this unit may take on a host, for the dead-man's T (INVARIANTS: T = stop and restart
// deadlines + healthy_deadline + min_healthy_time + 2 x session establishment + 10 s).
Millis activation_bound(const UnitSpec& spec, Millis session_establishment);

}  // namespace ripcord
