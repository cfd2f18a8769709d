// Where everything lies on a host (docs/host-layout.md). Pure: computes paths, touches nothing.
//
// `prefix` is the folder that plays the host's root for local fleets (--root DIR), "" on a real host. Every absolute path of a
// unit (install root, placed files, logs) goes through on_host(); the variables release, current and shared of a unit are given
// with the prefix already on, which is why on_host() leaves such a path alone.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "manifests/shared/messages.hpp"

namespace ripcord {

struct UnitLayout {
  std::string unit;
  std::string root;           // as the unit says, without prefix ("/srv")
  std::string state;          // <state>/units/<unit>; 0700, like everything below it
  std::string unit_root;      // <prefix><root>/<unit>
  std::string releases;       // <unit_root>/releases
  std::string current;        // <unit_root>/current, a link to releases/<folder>
  std::string shared;         // <unit_root>/shared, persist: folders

  std::string journal() const { return state + "/journal"; }
  std::string pending() const { return state + "/pending"; }     // the armed operation (hostb's record)
  std::string lock() const { return state + "/lock"; }
  std::string way_back() const { return state + "/way-back"; }   // old bytes of placed files, per operation
  std::string metadata() const { return state + "/releases"; }
  std::string metadata_of(const std::string& folder) const { return metadata() + "/" + folder; }
  std::string release(const std::string& folder) const { return releases + "/" + folder; }
  static std::string link_target(const std::string& folder) { return "releases/" + folder; }
};

struct Layout {
  std::string prefix;
  std::string state;

  // state: --state-dir, else <root>/var/lib/ripcord with --root, else /var/lib/ripcord as root, else $HOME/.local/state/ripcord.
  static Layout choose(const std::string& root, const std::string& state_dir);

  std::string on_host(const std::string& absolute) const;  // prefix + path; unchanged when it lies below the prefix already
  std::string host_id_file() const { return state + "/host_id"; }
  std::string halt_file() const { return state + "/halt"; }  // while it is there, nothing goes forward (halt.hpp)
  std::string helper() const { return state + "/helper"; }
  // The file whose presence makes signatures compulsory: <state>/trust/allowed_signers, else /etc/ripcord/allowed_signers.
  std::optional<std::string> trust_file() const;
  std::string units() const { return state + "/units"; }
  UnitLayout unit(const UnitRef& ref) const;               // HostFailure bad_path when name or root are not clean
};

}  // namespace ripcord
