#include "manifests/host/serve.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "manifests/host/activation.hpp"
#include "manifests/host/requests.hpp"
#include "manifests/host/session_io.hpp"

namespace ripcord {
namespace {

bool is_nonce(std::string_view text) {
  return text.size() >= 8 && text.size() <= 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

json::object error_reply(std::int64_t id, const HostError& error) {
  return {{"id", id}, {"ok", false}, {"error", to_json(error)}};
}

class Session {
 public:
  Session(HostContext host, int in, int out, Millis idle) : host_(std::move(host)), output_(out), input_(in, output_, idle) {
    host_.event = [this](std::string_view name) {
      output_.control({{"id", id_}, {"event", name}});
      output_.flush();
    };
    host_.peer_gone = [this] { return input_.peer_gone(); };
  }

  int run() {
    auto line = input_.first_line();
    if (!line || line->compare(0, kHelloToHost.size(), kHelloToHost) != 0 || !is_nonce(line->substr(kHelloToHost.size()))) return 1;
    output_.raw(std::string(kHelloFromHost) + line->substr(kHelloToHost.size()) + "\n");
    int status = 0;
    try {
      while (auto frame = input_.next())
        if (!answer(*frame)) break;
    } catch (const std::exception&) {  // not a frame, or not a request: whoever talks there cannot be understood any more
      status = 1;
    }
    output_.flush();
    return status;
  }

 private:
  // False: the session is over.
  bool answer(const Frame& frame) {
    if (frame.kind != FrameKind::control) throw ProtocolBroken("data where a request was expected");
    auto request = parse_json_object(frame.payload, "a request");
    id_ = get_int(request, "id");
    auto name = get_string_or(request, "do", "");
    bool awaits_data = name == "stage_pack";
    Requests::PackParts parts;
    bool data_ended = !awaits_data;
    if (awaits_data) parts = [&]() -> std::optional<std::string> { return next_part(data_ended); };
    json::object reply;
    std::optional<Requests::DataOut> data;
    try {
      std::optional<Heartbeat> alive;
      if (name == "hello") beat(request);
      if (requests_.may_take_long(host_, name, request)) {
        output_.flush();  // earlier replies need not wait for it
        if (!beats_) alive.emplace(output_);
      }
      reply = requests_.answer(host_, name, request, parts, data);
      json::object head{{"id", id_}, {"ok", true}};
      for (auto& [key, value] : head) reply[key] = value;
    } catch (const ProtocolBroken&) {
      throw;
    } catch (const std::exception& e) {
      reply = error_reply(id_, to_host_error(e));
    }
    while (!data_ended)
      if (!next_part(data_ended)) break;
    output_.control(reply);
    if (data) send(*data);
    return name != "bye";
  }

  // From hello to the end, between requests too: what lies in between forgets connections on which nothing moves.
  void beat(const json::object& request) {
    auto every = get_int_or(request, "alive_ms", 0);
    if (every > 0 && !beats_) beats_.emplace(output_, Millis(std::clamp<std::int64_t>(every, 50, 60000)));
  }

  std::optional<std::string> next_part(bool& ended) {
    if (ended) return std::nullopt;
    auto frame = input_.next();
    if (!frame) {
      ended = true;
      throw HostFailure("bad_request", "the connection ended in the middle of a pack");
    }
    if (frame->kind != FrameKind::data) throw ProtocolBroken("a request in the middle of a pack");
    if (frame->payload.empty()) {
      ended = true;
      return std::nullopt;
    }
    return std::move(frame->payload);
  }

  void send(const Requests::DataOut& data) {
    std::optional<Heartbeat> alive;
    if (!beats_) alive.emplace(output_);
    data([this](std::string_view part) {
      if (!part.empty()) output_.data(part);
    });
    output_.data({});
  }

  HostContext host_;
  SessionOutput output_;
  SessionInput input_;
  Requests requests_;
  std::int64_t id_ = 0;
  std::optional<Heartbeat> beats_;  // last: its thread uses the output
};

}  // namespace

int serve(HostContext host, int in, int out, Millis idle) { return Session(std::move(host), in, out, idle).run(); }

}  // namespace ripcord
