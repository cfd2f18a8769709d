#include "plans/files/fleet_hosts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

namespace ripcord {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz", kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", kDigits = "0123456789";

bool only(std::string_view text, std::initializer_list<std::string_view> sets) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return std::any_of(sets.begin(), sets.end(), [&](std::string_view set) { return set.find(c) != std::string_view::npos; });
  });
}

// One value of an entry for each of its hosts: written once for all, or as a range of the same length.
using Column = std::vector<std::string>;

Column expanded(const Yaml& node, std::size_t hosts) {
  Column values;
  auto text = node.string();
  if (text.empty()) return Column(hosts);
  try {
    values = expand_range(text);
  } catch (const Error& e) {
    node.error(e.message());
    return Column(hosts);
  }
  if (values.size() == 1) return Column(hosts, values[0]);
  if (values.size() == hosts) return values;
  node.error(fmt::format("a range of {} values for {} host{}", values.size(), hosts, hosts == 1 ? "" : "s"));
  return Column(hosts);
}

Column checked(const Yaml& node, std::size_t hosts, bool (*good)(std::string_view), std::string_view what) {
  auto values = expanded(node, hosts);
  for (const auto& value : values)
    if (!value.empty() && !good(value)) {
      node.error(fmt::format("'{}' is not {}", value, what));
      return Column(hosts);
    }
  return values;
}

bool is_port(std::string_view text) {
  int port = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  return ec == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535 && text[0] != '0';
}

bool is_label_key(std::string_view key) {
  return !key.empty() && key.size() <= 64 && kLower.find(key[0]) != std::string_view::npos && only(key, {kLower, kDigits, "_"});
}

// Values go into file names, URLs and argument lists of every host, so nothing that anything could take for syntax.
bool is_label_value(std::string_view value) {
  return !value.empty() && value.size() <= 128 &&
         std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f && std::string_view("'\"`\\$;").find(c) == std::string_view::npos; });
}

constexpr std::string_view kReserved[] = {"host", "datacenter", "fleet", "address", "unit", "version", "release", "current", "shared"};

std::vector<std::pair<std::string, Column>> label_columns(const Yaml& node, std::size_t hosts) {
  std::vector<std::pair<std::string, Column>> out;
  if (!node) return out;
  for (const auto& [key, value] : node.members()) {
    if (std::find(std::begin(kReserved), std::end(kReserved), key) != std::end(kReserved)) {
      node.error_at_key(key, fmt::format("label '{}' is set by ripcord itself, choose another name", key));
    } else if (!is_label_key(key)) {
      node.error_at_key(key, fmt::format("'{}' is not a label's name (lower-case letters, digits and '_', first a letter)", key));
    } else {
      out.emplace_back(key, checked(value, hosts, is_label_value,
                                    "a label's value (up to 128 printable ASCII characters without blanks, quotes, '\\', '$', ';')"));
    }
  }
  return out;
}

class HostDecoder {
 public:
  HostDecoder(const Labels& labels, const std::string& state_dir, Fleet& fleet) : labels_(labels), state_dir_(state_dir), fleet_(fleet) {}

  void datacenter(const Yaml& all, const std::string& name, const Yaml& node) {
    if (!is_host_name(name)) all.error_at_key(name, fmt::format("'{}' is not a datacenter's name (lower-case letters, digits, '.', '_', '-')", name));
    datacenter_ = name;
    labels_here_ = labels_;
    if (node.is_null()) return all.error_at_key(name, fmt::format("datacenter '{}' has no hosts", name));
    if (auto own = node.get("labels"))
      for (auto& [key, value] : decode_labels(own)) labels_here_[key] = value;
    auto hosts = node.require("hosts");
    auto before = fleet_.hosts.size();
    if (hosts.is_map()) {
      for (const auto& [pattern, settings] : hosts.members()) {
        line_ = hosts.key_place(pattern).line;
        entry(pattern, settings, [&, &key = pattern](std::string message) { hosts.error_at_key(key, std::move(message)); });
      }
      if (hosts.members().empty()) all.error_at_key(name, fmt::format("datacenter '{}' has no hosts", name));
    } else if (hosts.is_null()) {
      all.error_at_key(name, fmt::format("datacenter '{}' has no hosts", name));
    } else if (hosts) {
      auto items = hosts.items(true);
      for (const auto& item : items) {
        line_ = item.place().line;
        if (auto pattern = item.string(); !pattern.empty()) entry(pattern, {}, [&](std::string message) { item.error(std::move(message)); });
      }
      if (items.empty()) all.error_at_key(name, fmt::format("datacenter '{}' has no hosts", name));
    }
    node.close();
    if (fleet_.hosts.size() > before) fleet_.datacenters.push_back(name);
  }

 private:
  template <class Report>
  void entry(const std::string& pattern, const Yaml& settings, Report report) {
    std::vector<std::string> names;
    try {
      names = expand_range(pattern);
    } catch (const Error& e) {
      return report(e.message());
    }
    if (fleet_.hosts.size() + names.size() > kMaxHosts) return report(fmt::format("more than {} hosts", kMaxHosts));
    auto n = names.size();
    Column address(n), port(n), user(n), become(n);
    std::vector<std::pair<std::string, Column>> labels;
    if (settings && !settings.is_null()) {
      if (auto v = settings.get("address")) address = checked(v, n, is_address, "an address (a name or a number as ssh would take it)");
      if (auto v = settings.get("port")) port = checked(v, n, is_port, "a port (1 to 65535)");
      if (auto v = settings.get("user")) user = checked(v, n, is_user, "a user's name");
      if (auto v = settings.get("become")) become = Column(n, v.one_of({"sudo", "none"}));
      labels = label_columns(settings.get("labels"), n);
      settings.close();
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (!is_host_name(names[i]))
        return report(fmt::format("'{}' is not a host's name (lower-case letters, digits, '.', '_', '-')", names[i]));
      auto [first, is_new] = lines_.emplace(names[i], line_);
      if (!is_new) {
        report(fmt::format("host '{}' is listed twice, first in line {}", names[i], first->second));
        continue;
      }
      Host host{names[i], datacenter_, labels_here_, {}, line_};
      for (const auto& [key, column] : labels) host.labels[key] = column[i];
      bool local = fleet_.link == Fleet::LinkKind::local;
      auto& a = host.address;
      a.name = host.name;
      // The processes of a local fleet run on this machine, so ${address} in a URL means the same as on a real host.
      a.address = !address[i].empty() ? address[i] : local ? "127.0.0.1" : host.name;
      a.port = port[i].empty() ? fleet_.ssh.port : std::stoi(port[i]);
      a.user = user[i].empty() ? fleet_.ssh.user : user[i];
      a.become = become[i].empty() ? fleet_.ssh.become : become[i] == "none" ? "" : become[i];
      a.state_dir = state_dir_;
      if (local) a.folder = fleet_.local_dir + "/" + host.name;
      host.labels["host"] = host.name;
      host.labels["datacenter"] = datacenter_;
      host.labels["fleet"] = fleet_.name;
      host.labels["address"] = a.address;
      fleet_.hosts.push_back(std::move(host));
    }
  }

  const Labels& labels_;
  const std::string& state_dir_;
  Fleet& fleet_;
  std::string datacenter_;
  Labels labels_here_;
  int line_ = 0;
  std::unordered_map<std::string, int> lines_;  // of every host so far
};

}  // namespace

bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && only(name.substr(0, 1), {kLower, kDigits}) && only(name, {kLower, kDigits, "._-"});
}

bool is_address(std::string_view address) {
  return !address.empty() && address.size() <= 253 && only(address.substr(0, 1), {kLower, kUpper, kDigits, ":"}) &&
         only(address, {kLower, kUpper, kDigits, "._:%-"});
}

bool is_user(std::string_view user) {
  return !user.empty() && user.size() <= 64 && only(user.substr(0, 1), {kLower, kUpper, kDigits, "_"}) &&
         only(user, {kLower, kUpper, kDigits, "._@-"});
}

Labels decode_labels(const Yaml& node) {
  Labels out;
  for (auto& [key, column] : label_columns(node, 1)) out[key] = column[0];
  return out;
}

void decode_datacenters(const Yaml& datacenters, const Labels& labels, const std::string& state_dir, Fleet& fleet) {
  if (!datacenters) return;
  auto members = datacenters.members();
  if (datacenters.is_map() && members.empty()) datacenters.error("a fleet needs at least one datacenter");
  HostDecoder decoder(labels, state_dir, fleet);
  for (const auto& [name, node] : members) decoder.datacenter(datacenters, name, node);
}

}  // namespace ripcord
