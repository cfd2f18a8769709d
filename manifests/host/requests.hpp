// The requests of a session by name (docs/protocol.md), each a function from a JSON object to the members of its reply.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "manifests/host/stage.hpp"

namespace ripcord {

class Requests {
 public:
  using PackParts = std::function<std::optional<std::string>()>;
  // Called behind the reply; gives the bytes of the data frames to its argument.
  using DataOut = std::function<void(const std::function<void(std::string_view)>&)>;

  // Throws what the request failed with. `parts`: the data of stage_pack. `data`: set when data frames follow the reply.
  json::object answer(HostContext& host, const std::string& name, const json::object& request, const PackParts& parts,
                      std::optional<DataOut>& data);
  // Worth a thread that says "alive" meanwhile.
  bool may_take_long(const HostContext& host, const std::string& name, const json::object& request) const;

 private:
  void before(HostContext& host, const std::string& name, const json::object& request);
  std::optional<OpenOffer> offer_;
  bool recovered_ = false;
};

}  // namespace ripcord
