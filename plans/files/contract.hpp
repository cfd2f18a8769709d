// The compatibility contract (`formats:` of unit.yaml): which versions of stored data a release reads, and which it writes. Old and
// new run side by side during a rollout, and a rollback hands the new one's data to the old one; so what anyone writes, everyone
// who names that format has to read. Pure.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

// A release that is live in the fleet, or is to be.
struct Party {
  std::string unit, version;
  std::map<std::string, Format> formats;
  std::string name() const { return unit + "@" + version; }
};

struct Breach {
  std::string format;
  int version = 0;               // of the format: written by one, not read by another
  bool closes_way_back = false;  // what is replaced cannot read what the new one writes: possible only past a point of no return
  std::string what, hint;
};

// What speaks against `coming` in a fleet where it replaces `replaced` and `others` run (other units).
std::vector<Breach> breaches(const Party& coming, const std::vector<Party>& replaced, const std::vector<Party>& others);

using LiveVersions = std::map<std::string, std::map<std::string, std::set<std::string>>>;  // unit -> version -> hosts

// All that is asked before a rollout is planned, and what a person has overridden by name.
struct ContractView {
  std::vector<Party> replaced, others;
  std::vector<std::string> unknown;             // live releases whose manifest nobody has
  LiveVersions live;                            // other units, by the ledger
  std::vector<std::string> point_of_no_return;  // "orders-db:7"
  std::vector<std::string> also_live;           // versions that may stay beside two others
};

struct ContractFinding {
  std::string what;
  bool blocks = true;
};

// `running`: version -> hosts of the unit, as observed. `no_return`: gets those points of no return that this rollout passes.
std::vector<ContractFinding> check_contract(const ContractView& view, const UnitSpec& coming,
                                            const std::map<std::string, std::size_t>& running, std::vector<std::string>& no_return);

// "orders-db:7"
struct FormatVersion {
  std::string format;
  int version = 0;
  bool operator==(const FormatVersion&) const = default;
};
std::optional<FormatVersion> parse_format_version(const std::string& text);
std::string to_text(const FormatVersion& f);

}  // namespace ripcord
