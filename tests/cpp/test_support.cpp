// See test_support.h.
#include "test_support.h"

#include <map>
#include <sstream>

namespace tileconv::test {

ConvArguments parse(const std::string& line) {
  ConvArguments a;
  a.input_dtype = a.weight_dtype = "float32";
  std::map<std::string, std::int64_t> number = {{"b", 1}, {"g", 1}};
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const std::size_t digits = word.find_first_of("0123456789");
    if (digits != std::string::npos)
      number[word.substr(0, digits)] = std::stoll(word.substr(digits));
    else if (word == "bias")
      a.has_bias = true;
    else if (word == "valid" || word.rfind("same", 0) == 0)
      a.padding_name = word;
    else
      a.padding_mode = word;
  }
  // The value of the first name that was given.
  const auto get = [&](std::initializer_list<const char*> names, std::int64_t otherwise) {
    for (const char* name : names)
      if (const auto found = number.find(name); found != number.end()) return found->second;
    return otherwise;
  };
  if (number.count("f")) a.input_dtype = a.weight_dtype = "float" + std::to_string(number["f"]);
  if (a.has_bias) a.bias_dtype = a.input_dtype;
  a.groups = number["g"];
  a.input_shape = {number["b"], number["ic"], number["ih"], get({"iw", "ih"}, 0)};
  a.weight_shape = {number["oc"], a.groups > 0 ? number["ic"] / a.groups : 0, number["kh"], get({"kw", "kh"}, 0)};
  a.bias_shape = {number["oc"]};
  a.stride = {get({"sh", "s"}, 1), get({"sw", "s"}, 1)};
  a.dilation = {get({"dh", "d"}, 1), get({"dw", "d"}, 1)};
  a.padding = {get({"pt", "ph", "p"}, 0), get({"pb", "ph", "p"}, 0), get({"pl", "pw", "p"}, 0),
               get({"pr", "pw", "p"}, 0)};
  return a;
}

const std::vector<const char*> problem_lines = {
    "b2 ic3 ih8 iw9 oc5 kh3 p1 bias",
    "ic4 ih7 iw11 oc6 kh3 s2 p1",
    "ic2 ih11 iw7 oc3 kh2 kw5 sh3 sw2 pt1 pb0 pl2 pr3 dh2 dw1 bias",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 zeros",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 reflect",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 replicate bias",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 circular",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 symmetric",
    "b2 ic5 ih5 iw37 oc19 kh5 p4 reflect",
    "ic2 ih3 oc3 kh6 p3 replicate",
    "ic4 ih7 oc20 kh3 p9 d9",  // dilation beyond the image
    "ic2 ih6 oc3 kh3 p11 d6 s5 bias",
    "ic1 ih3 oc2 kh2 p1000000000000 d1000000000000 s1000000000000 zeros",
    "ic1 ih3 oc2 kh2 p1000000000000 d1000000000000 s1000000000000 symmetric",
    "ic6 ih9 oc9 kh3 p1 g3 bias",
    "b2 ic8 ih9 iw17 oc8 kh3 p1 g8",            // depthwise
    "ic4 ih6 oc12 kh3 kw1 g4 reflect p1 bias",  // depthwise with a multiplier
    "b2 ic5 ih14 oc5 kh5 s2 p2 g5 bias",        // narrow, strided
    "ic4 ih8 iw7 oc4 kh5 kw3 s2 dw3 pt1 pb2 pl5 pr2 g4",
    "ic3 ih9 iw16 oc3 kh5 s2 p2 g3",
    "ic3 ih9 iw17 oc3 kh5 s2 p2 g3",
    "b2 ic3 ih0 iw5 oc4 kh3 ph2 pw1 bias",  // nothing but padding
    "b0 ic3 ih5 oc4 kh3",
    "b2 ic24 ih7 oc40 kh1 bias",
    "ic9 ih8 oc33 kh1 s2",
    "ic3 ih5 oc6 kh1 p2 replicate",
    "ic8 ih6 oc6 kh1 g2",     // pointwise of few channels
    "ic20 ih9 oc20 kh1 g20",  // pointwise and depthwise
    "ic50 ih1 oc70 kh1",      // a matrix times a vector
    "ic3 ih5 oc6 kh5 bias",   // one output
    "ic2 ih1 iw300 oc3 kh1 kw7 ph0 pw3",
    "ic2 ih300 iw1 oc3 kh7 kw1 ph3 pw0 bias",
    "ic330 ih5 oc40 kh3 p1 bias",  // chunks of channels
    "ic700 ih6 oc72 kh1",
    "ic40 ih2 iw900 oc2 kh3 p1 reflect",  // tiles of columns
    "ic64 ih3 iw500 oc3 kh3 p30 d30",
    "b3 ic17 ih9 iw14 oc18 kh3 dh2 dw3 ph2 pw3 symmetric bias",  // phases of a dilation, each in tiles
    "ic96 ih13 iw23 oc70 kh3 pt1 pb0 pl0 pr2",                   // unfinished tiles, chunks of their sums
    "b2 ic16 ih20 oc28 kh3 p1 bias",                             // threads over images, over out channels
    "ic32 ih12 oc100 kh3 p1",
};

}  // namespace tileconv::test
