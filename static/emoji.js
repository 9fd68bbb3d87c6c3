/**
 * The emoji that the page offers, and the search among them. Loaded when it is needed first. After each emoji are
 * its name and words by which it is also found. Knows no DOM.
 *
 * @typedef {{char: string, name: string, words: string[]}} Emoji
 * @typedef {{title: string, emoji: Emoji[]}} Group
 */

const TEXT = `
# Faces
😀 grinning happy smile; 😃 smiley happy joy; 😄 smile happy laugh; 😁 beaming grin teeth; 😆 laughing haha xd
😅 sweat_smile relief phew; 🤣 rofl laugh floor; 😂 joy tears laugh cry; 🙂 slight_smile fine ok
🙃 upside_down silly irony; 😉 wink joke; 😊 blush happy shy; 😇 innocent angel halo; 🥰 hearts love adore
😍 heart_eyes love crush; 🤩 star_struck wow amazed; 😘 kiss love; 😋 yum tasty delicious; 😛 tongue silly
😜 winking_tongue joke crazy; 🤪 zany crazy goofy; 🤑 money_mouth rich; 🤗 hug thanks; 🤭 oops giggle hand
🤫 shush quiet secret; 🤔 thinking hmm consider; 🤐 zipper_mouth secret silent; 🤨 raised_eyebrow doubt skeptic
😐 neutral meh; 😑 expressionless blank; 😶 no_mouth speechless; 😏 smirk smug; 😒 unamused bored; 🙄 eye_roll annoyed
😬 grimace awkward; 🤥 lying pinocchio; 😌 relieved calm; 😔 pensive sad; 😪 sleepy tired; 😴 sleeping zzz
😷 mask sick; 🤒 thermometer sick fever; 🤕 bandage hurt; 🤢 nauseated sick; 🤮 vomit sick; 🤧 sneeze cold; 🥵 hot heat
🥶 cold freezing; 🥴 woozy drunk; 😵 dizzy knocked_out; 🤯 mind_blown exploding wow; 🤠 cowboy hat
🥳 party celebrate birthday; 😎 cool sunglasses; 🤓 nerd glasses; 🧐 monocle inspect; 😕 confused puzzled
😟 worried concern; 🙁 frown sad; 😮 open_mouth surprise wow; 😲 astonished shock; 😳 flushed embarrassed
🥺 pleading please puppy; 😦 frowning; 😨 fearful scared; 😰 anxious sweat; 😥 sad_relieved phew; 😢 cry sad tear
😭 sob cry tears; 😱 scream fear shock; 😖 confounded; 😣 persevere struggle; 😞 disappointed sad; 😓 sweat hard
😩 weary tired; 😫 tired exhausted; 🥱 yawn bored; 😤 triumph huff steam; 😡 rage angry mad; 😠 angry mad
🤬 cursing swear; 😈 smiling_devil evil; 💀 skull dead; 💩 poop; 🤡 clown; 👻 ghost halloween; 👽 alien; 🤖 robot bot
😺 cat_smile; 🙈 see_no_evil monkey; 🙉 hear_no_evil monkey; 🙊 speak_no_evil monkey
# People
👍 +1 thumbsup yes good ok like; 👎 -1 thumbsdown no bad dislike; 👌 ok_hand perfect fine; ✌️ v peace victory
🤞 fingers_crossed luck hope; 🤟 love_you hand; 🤘 metal rock; 🤙 call_me shaka; 👈 point_left; 👉 point_right
👆 point_up; 👇 point_down; ☝️ one index first; ✋ raised_hand stop high_five; 🖐️ hand five; 🖖 vulcan spock
👋 wave hello hi bye; 💪 muscle strong; ✊ fist power; 👊 fist_bump punch; 🤜 right_fist bump; 🤛 left_fist bump
👏 clap applause bravo; 🙌 raised_hands hooray praise; 👐 open_hands; 🤲 palms; 🤝 handshake deal agree
🙏 pray please thanks; ✍️ writing note; 🤷 shrug dunno; 🤦 facepalm; 🙋 raising_hand question; 🙇 bow sorry
👀 eyes look see; 👂 ear listen; 🧠 brain smart; 👤 person user; 👥 people users group; 👶 baby; 🧑 adult
👩‍💻 developer coder laptop; 🕵️ detective spy; 👷 worker construction; 🧙 wizard magic; 🧟 zombie; 🏃 running run
🚶 walking walk; 💃 dancer dance; 🧘 yoga calm
# Hearts and signs
❤️ heart love; 🧡 orange_heart; 💛 yellow_heart; 💚 green_heart; 💙 blue_heart; 💜 purple_heart; 🖤 black_heart
💔 broken_heart; 💕 two_hearts love; 💯 100 hundred full; 💢 anger; 💥 boom collision explode; 💫 dizzy_star
💬 speech_balloon comment chat; 💭 thought; 💤 zzz sleep; ✅ check done yes ok; ☑️ checked_box done; ✔️ check_mark
❌ x no cross fail; ❎ cross_box; ❓ question; ❗ exclamation important; ‼️ double_exclamation; ⚠️ warning caution
🚫 prohibited no forbidden; ⛔ no_entry stop; 🛑 stop_sign; ➕ plus add; ➖ minus; ✖️ multiply; ♻️ recycle
🔴 red_circle; 🟠 orange_circle; 🟡 yellow_circle; 🟢 green_circle; 🔵 blue_circle; ⚪ white_circle; ⚫ black_circle
🔺 red_triangle; 🏁 finish flag race; 🚩 red_flag; 🏳️ white_flag; 🆕 new; 🆗 ok_button; 🆘 sos help; 🔝 top; 🔜 soon
⬆️ up; ⬇️ down; ⬅️ left; ➡️ right; 🔄 arrows reload sync refresh; 🔁 repeat loop; ▶️ play start; ⏸️ pause
⏹️ stop_button; ♾️ infinity
# Nature
🐶 dog; 🐱 cat; 🐭 mouse; 🐹 hamster; 🐰 rabbit; 🦊 fox; 🐻 bear; 🐼 panda; 🐨 koala; 🐯 tiger; 🦁 lion; 🐮 cow; 🐷 pig
🐸 frog; 🐵 monkey; 🐔 chicken; 🐧 penguin linux; 🐦 bird; 🦆 duck; 🦉 owl; 🐺 wolf; 🐴 horse; 🦄 unicorn; 🐝 bee; 🐛 bug
🦋 butterfly; 🐌 snail slow; 🐞 ladybug; 🐢 turtle slow; 🐍 snake python; 🐙 octopus; 🦀 crab rust; 🐬 dolphin
🐳 whale docker; 🦈 shark; 🐘 elephant postgres; 🌵 cactus; 🎄 christmas_tree; 🌳 tree; 🌱 seedling grow
🍀 four_leaf_clover luck; 🌹 rose; 🌻 sunflower; 🌍 earth world globe; 🌙 moon night; ⭐ star; 🌟 glowing_star
✨ sparkles new magic; ⚡ zap lightning fast; 🔥 fire hot flame; 🌈 rainbow; ☀️ sun sunny; ⛅ partly_cloudy; ☁️ cloud
🌧️ rain; ❄️ snowflake cold; 💧 drop water; 🌊 wave_water ocean
# Food
🍎 apple; 🍌 banana; 🍓 strawberry; 🍒 cherries; 🍋 lemon; 🥑 avocado; 🍅 tomato; 🥕 carrot; 🌶️ hot_pepper; 🍞 bread
🧀 cheese; 🥚 egg; 🥓 bacon; 🍔 burger; 🍟 fries; 🍕 pizza; 🌮 taco; 🍜 noodles ramen; 🍣 sushi; 🍦 ice_cream; 🍩 donut
🍪 cookie; 🎂 birthday cake; 🍰 cake; 🍫 chocolate; 🍿 popcorn; ☕ coffee; 🍵 tea; 🍺 beer; 🍻 cheers beers
🥂 toast champagne; 🍷 wine; 🍾 bottle celebrate
# Activities and places
🎉 tada party hooray celebrate; 🎊 confetti party; 🎈 balloon; 🎁 gift present; 🏆 trophy win; 🥇 gold first
🥈 silver second; 🥉 bronze third; ⚽ soccer football; 🏀 basketball; 🎾 tennis; 🎮 game controller; 🎲 dice random
🎯 target dart; 🎵 music note; 🎸 guitar; 🎤 microphone; 🎧 headphones; 🎨 art palette design; 🎬 movie
🚀 rocket launch deploy; ✈️ airplane flight; 🚗 car; 🚌 bus; 🚂 train; 🚲 bike bicycle; 🚢 ship boat
🚨 siren alarm alert; 🚧 construction wip; 🏠 house home; 🏢 office; 🏥 hospital; 🏖️ beach vacation; ⛰️ mountain
🏕️ camping
# Things
⌚ watch; 📱 phone mobile; 💻 laptop computer; ⌨️ keyboard; 🖥️ desktop server; 🖨️ printer; 💾 floppy save; 💿 cd disk
📷 camera photo; 🎥 video; 📞 telephone call; 🔋 battery; 🔌 plug power; 💡 bulb idea light; 🔦 flashlight; 🕯️ candle
💰 money bag; 💳 card payment; 💎 gem diamond ruby; 🔧 wrench fix; 🔨 hammer build; 🛠️ tools; ⚙️ gear settings
🔩 bolt nut; 🧪 test_tube test; 🔬 microscope; 🔭 telescope; 💊 pill; 🧹 broom cleanup; 🔑 key; 🔒 lock; 🔓 unlock
🛡️ shield security; 📦 package box; 📫 mailbox; 📧 email mail; 📝 memo note edit; 📄 page document; 📚 books docs
📖 book read; 🔖 bookmark; 🏷️ label tag; 📎 paperclip attach; 📌 pin pushpin; 📍 location; ✂️ scissors cut
🗑️ trash delete; 📅 calendar date; 📈 chart_up growth; 📉 chart_down; 📊 chart bar; 📋 clipboard; 🔍 search magnify
🔗 link; 🔔 bell notify; 🔕 mute no_bell; 📣 megaphone announce; ⏰ alarm_clock time; ⏳ hourglass wait
⌛ hourglass_done; 🧵 thread; 🕶️ dark_glasses; 👑 crown king queen; 🎓 graduation; 🎩 top_hat
`;

const MAX_FOUND = 40;

/** @type {Group[]} */
export const GROUPS = [];
for (const line of TEXT.trim().split(/\n|; /)) {
  const [char = "", name = "", ...words] = line.split(" ");
  if (char === "#") GROUPS.push({ title: line.slice(2), emoji: [] });
  else GROUPS.at(-1)?.emoji.push({ char, name, words });
}

const ALL = GROUPS.flatMap(({ emoji }) => emoji);

/**
 * Return the emoji that match what was typed, the best first: its name, a name or word that begins with it, a part.
 * @param {string} query
 * @returns {Emoji[]}
 */
export function searchEmoji(query) {
  const text = query.toLowerCase().replaceAll(" ", "_");
  /** @param {Emoji} emoji */
  const rank = ({ name, words }) => {
    if (name === text || words.includes(text)) return name === text ? 0 : 1;
    if (name.startsWith(text)) return 2;
    if (words.some((word) => word.startsWith(text))) return 3;
    return name.includes(text) ? 4 : 5;
  };
  const ranked = ALL.map((emoji) => ({ emoji, rank: rank(emoji) })).filter(({ rank }) => rank < 5);
  ranked.sort((a, b) => a.rank - b.rank || a.emoji.name.length - b.emoji.name.length);
  return ranked.slice(0, MAX_FOUND).map(({ emoji }) => emoji);
}

/**
 * Return the emoji with a name, or undefined.
 * @param {string} name
 */
export function emojiNamed(name) {
  return ALL.find((emoji) => emoji.name === name || (emoji.words.includes(name) && name.length > 1))?.char;
}
