//! Invents users: the same seed and page give the same ones.

use chrono::{DateTime, Datelike, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What sets the users of a country apart.
pub(super) struct Nation {
    pub(super) code: &'static str,
    country: &'static str,
    women: &'static [&'static str],
    men: &'static [&'static str],
    families: &'static [&'static str],
    streets: &'static [&'static str],
    cities: &'static [&'static str],
    states: &'static [&'static str],
    /// `#` is a digit, `@` a letter; a post code without letters, blanks and leading zeros is a
    /// number, except where it is always a text.
    postcode: &'static str,
    postcode_is_text: bool,
    phone: &'static str,
}

/// The 21 nationalities of version 1.4.
pub(super) const NATIONS: [Nation; 21] = [
    nation(
        "AU",
        "Australia",
        &["Amber", "Zoe"],
        &["Jack", "Noah"],
        &["Wells", "Rose"],
        &["Green Rd", "Karen Dr"],
        &["Geelong", "Cairns"],
        &["Victoria", "Queensland"],
        "####",
        false,
        "0#-####-####",
    ),
    nation(
        "BR",
        "Brazil",
        &["Ana", "Luiza"],
        &["João", "Caio"],
        &["da Silva", "Araújo"],
        &["Rua São Luiz", "Avenida Brasil"],
        &["Recife", "Belém"],
        &["Pará", "Bahia"],
        "#####",
        false,
        "(##) ####-####",
    ),
    nation(
        "CA",
        "Canada",
        &["Olivia", "Chloé"],
        &["Liam", "Félix"],
        &["Roy", "Tremblay"],
        &["Maple Ave", "Lake Rd"],
        &["Oakville", "Windsor"],
        &["Ontario", "Québec"],
        "@#@ #@#",
        true,
        "@## @##-####",
    ),
    nation(
        "CH",
        "Switzerland",
        &["Mia", "Léa"],
        &["Urs", "Loïc"],
        &["Müller", "Favre"],
        &["Rue du Lac", "Seestrasse"],
        &["Chur", "Nyon"],
        &["Vaud", "Zug"],
        "####",
        false,
        "07# ### ## ##",
    ),
    nation(
        "DE",
        "Germany",
        &["Lena", "Jördis"],
        &["Max", "Jürgen"],
        &["Weiß", "Schröder"],
        &["Gartenstraße", "Schulstraße"],
        &["Köln", "Jena"],
        &["Hessen", "Sachsen"],
        "#####",
        false,
        "0###-#######",
    ),
    nation(
        "DK",
        "Denmark",
        &["Freja", "Signe"],
        &["Mads", "Søren"],
        &["Jensen", "Møller"],
        &["Bøgevej", "Åvej"],
        &["Aarhus", "Køge"],
        &["Sjælland", "Midtjylland"],
        "####",
        false,
        "########",
    ),
    nation(
        "ES",
        "Spain",
        &["Lucía", "Nuria"],
        &["Íñigo", "Álvaro"],
        &["Peña", "Gómez"],
        &["Calle Mayor", "Avenida de América"],
        &["Cádiz", "León"],
        &["Aragón", "Galicia"],
        "#####",
        false,
        "9##-###-###",
    ),
    nation(
        "FI",
        "Finland",
        &["Aino", "Päivi"],
        &["Eino", "Väinö"],
        &["Mäkelä", "Korpi"],
        &["Rotuaari", "Hämeentie"],
        &["Oulu", "Kemiö"],
        &["Lapland", "Uusimaa"],
        "#####",
        false,
        "0#-###-###",
    ),
    nation(
        "FR",
        "France",
        &["Zoé", "Inès"],
        &["Noé", "Loïs"],
        &["Lefèvre", "Dupont"],
        &["Rue de l'Abbaye", "Place du Château"],
        &["Nîmes", "Besançon"],
        &["Isère", "Lozère"],
        "#####",
        false,
        "0#-##-##-##-##",
    ),
    nation(
        "GB",
        "United Kingdom",
        &["Isla", "Niamh"],
        &["Oscar", "Alfie"],
        &["O'Brien", "Shaw"],
        &["High Street", "Mill Lane"],
        &["Bath", "Ely"],
        &["Kent", "County Down"],
        "@@# #@@",
        true,
        "01### ######",
    ),
    nation(
        "IE",
        "Ireland",
        &["Aoife", "Siobhán"],
        &["Seán", "Cian"],
        &["Murphy", "O'Connor"],
        &["Main Street", "The Crescent"],
        &["Sligo", "Cobh"],
        &["Kerry", "Mayo"],
        "#####",
        false,
        "0##-###-####",
    ),
    nation(
        "IN",
        "India",
        &["Asha", "Diya"],
        &["Arjun", "Veer"],
        &["Shetty", "Rao"],
        &["MG Rd", "Church St"],
        &["Mysore", "Pune"],
        &["Kerala", "Goa"],
        "#####",
        false,
        "##########",
    ),
    nation(
        "IR",
        "Iran",
        &["نازنین", "یاسمن"],
        &["آرش", "پارسا"],
        &["رضایی", "کریمی"],
        &["آزادی", "شهید بهشتی"],
        &["شیراز", "یزد"],
        &["فارس", "گیلان"],
        "#####",
        false,
        "0##-########",
    ),
    nation(
        "MX",
        "Mexico",
        &["Ximena", "Jimena"],
        &["Iván", "José"],
        &["Núñez", "Ávila"],
        &["Calle Oaxaca", "Privada Juárez"],
        &["Mérida", "Tepic"],
        &["Yucatán", "Nayarit"],
        "#####",
        false,
        "(###) ### ####",
    ),
    nation(
        "NL",
        "Netherlands",
        &["Femke", "Noë"],
        &["Daan", "Sjoerd"],
        &["de Vries", "van 't Hof"],
        &["Kerkstraat", "De Dam"],
        &["Delft", "Ede"],
        &["Drenthe", "Zeeland"],
        "#### @@",
        true,
        "(0##) #######",
    ),
    nation(
        "NO",
        "Norway",
        &["Ingrid", "Åse"],
        &["Øyvind", "Lars"],
        &["Bø", "Næss"],
        &["Fjellveien", "Åsgata"],
        &["Tromsø", "Å"],
        &["Nordland", "Rogaland"],
        "0###",
        true,
        "########",
    ),
    nation(
        "NZ",
        "New Zealand",
        &["Aria", "Mila"],
        &["Tane", "Leo"],
        &["Walker", "Ngata"],
        &["Queen Street", "Ocean View"],
        &["Nelson", "Napier"],
        &["Otago", "Waikato"],
        "#####",
        false,
        "(0##)-###-####",
    ),
    nation(
        "RS",
        "Serbia",
        &["Јована", "Ђурђа"],
        &["Милош", "Љубиша"],
        &["Петровић", "Ђорђевић"],
        &["Његошева", "Кнеза Милоша"],
        &["Ниш", "Шабац"],
        &["Мачва", "Банат"],
        "#####",
        false,
        "0##-####-###",
    ),
    nation(
        "TR",
        "Turkey",
        &["Ayşe", "Çağla"],
        &["Emir", "Işık"],
        &["Öztürk", "Yıldız"],
        &["Atatürk Sk", "Bağdat Cd"],
        &["Muğla", "İzmir"],
        &["Ağrı", "Çanakkale"],
        "#####",
        false,
        "(###)-###-####",
    ),
    nation(
        "UA",
        "Ukraine",
        &["Олена", "Ївга"],
        &["Тарас", "Євген"],
        &["Шевченко", "Лук'яненко"],
        &["Вокзальна", "Садова"],
        &["Київ", "Рівне"],
        &["Волинська", "Одеська"],
        "#####",
        false,
        "(0##) @##-####",
    ),
    nation(
        "US",
        "United States",
        &["Emma", "Ava"],
        &["Logan", "Ethan"],
        &["Smith", "Lee"],
        &["Main St", "W Sherman Dr"],
        &["Salem", "Provo"],
        &["Oregon", "Utah"],
        "#####",
        false,
        "(###) ###-####",
    ),
];

#[allow(clippy::too_many_arguments, reason = "a row of the table above")]
const fn nation(
    code: &'static str,
    country: &'static str,
    women: &'static [&'static str],
    men: &'static [&'static str],
    families: &'static [&'static str],
    streets: &'static [&'static str],
    cities: &'static [&'static str],
    states: &'static [&'static str],
    postcode: &'static str,
    postcode_is_text: bool,
    phone: &'static str,
) -> Nation {
    Nation { code, country, women, men, families, streets, cities, states, postcode, postcode_is_text, phone }
}

/// Users of a seed and page, in order.
pub(super) struct People<'a> {
    random: StdRng,
    nations: Vec<&'a Nation>,
    gender: Option<&'a str>,
    now: DateTime<Utc>,
}

impl<'a> People<'a> {
    /// `gender` and `nations` narrow the choice.
    pub(super) fn new(
        seed: &str,
        page: u32,
        gender: Option<&'a str>,
        nations: Vec<&'a Nation>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, page).hash(&mut hasher);
        Self { random: StdRng::seed_from_u64(hasher.finish()), nations, gender, now }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).expect("a list with something in it")
    }

    fn filled(&mut self, pattern: &str) -> String {
        let fill = |c| match c {
            '#' => char::from(b'0' + self.random.random_range(0..10)),
            '@' => char::from(b'A' + self.random.random_range(0..26)),
            c => c,
        };
        pattern.chars().map(fill).collect()
    }

    fn hexadecimal(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(self.random.random_range(0..16), 16).expect("a digit")).collect()
    }

    fn moment(&mut self, years_ago: std::ops::Range<i64>) -> (String, i32) {
        let seconds = self.random.random_range(years_ago.start * 31_556_952..years_ago.end * 31_556_952);
        let millis = self.random.random_range(0..1000);
        // Counted from a fixed day, so that a seed gives the same moment tomorrow.
        let fixed = DateTime::from_timestamp_millis(1_750_000_000_000).expect("a moment");
        let moment = fixed - chrono::TimeDelta::seconds(seconds) + chrono::TimeDelta::milliseconds(millis);
        let birthday_passed = (self.now.month(), self.now.day()) >= (moment.month(), moment.day());
        let years = self.now.year() - moment.year() - i32::from(!birthday_passed);
        (moment.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(), years)
    }

    /// The next user, with all fields.
    pub(super) fn next_user(&mut self) -> Value {
        // The login's id comes first: it is the same for every nationality and gender.
        let uuid = uuid::Builder::from_random_bytes(self.random.random()).into_uuid().to_string();
        let nations = self.nations.clone();
        let nation = self.pick(&nations);
        let gender = self.gender.unwrap_or(if self.random.random() { "female" } else { "male" });
        let female = gender == "female";
        let first = self.pick(if female { nation.women } else { nation.men });
        let last = self.pick(nation.families);
        let title = if female { self.pick(&["Mrs", "Ms", "Miss"]) } else { "Mr" };
        let postcode = self.filled(nation.postcode);
        let is_number = !nation.postcode_is_text && !postcode.starts_with('0');
        let postcode = match postcode.parse::<u32>() {
            Ok(number) if is_number => json!(number),
            _ => json!(postcode),
        };
        let adjective = self.pick(&["silver", "crazy", "happy", "lazy", "tiny", "angry", "blue", "golden"]);
        let animal = self.pick(&["frog", "dog", "bear", "goose", "panda", "koala", "tiger", "swan"]);
        let number = self.random.random_range(100..1000);
        let (born, age) = self.moment(21..80);
        let (registered, since) = self.moment(1..24);
        let portrait = self.random.random_range(0..100);
        let folder = if female { "women" } else { "men" };
        let picture =
            |size: &str| format!("https://randomuser.me/api/portraits/{size}{folder}/{portrait}.jpg");
        let local = self.filled("@@@@").to_lowercase();
        let latitude = format!("{:.4}", self.random.random_range(-90.0..90.0));
        let longitude = format!("{:.4}", self.random.random_range(-180.0..180.0));
        let id = match nation.code {
            "FI" => json!({"name": "HETU", "value": "NaNNA123undefined"}),
            "BR" | "US" | "AU" | "FR" => json!({"name": "ID", "value": self.filled("###-##-####")}),
            _ => json!({"name": "", "value": null}),
        };
        json!({
            "gender": gender,
            "name": {"title": title, "first": first, "last": last},
            "location": {
                "street": {"number": self.random.random_range(1..10_000), "name": self.pick(nation.streets)},
                "city": self.pick(nation.cities),
                "state": self.pick(nation.states),
                "country": nation.country,
                "postcode": postcode,
                "coordinates": {"latitude": latitude, "longitude": longitude},
                "timezone": {"offset": "+1:00", "description": "Brussels, Copenhagen, Madrid, Paris"},
            },
            "email": format!("{local}.{adjective}@example.com"),
            "login": {
                "uuid": uuid,
                "username": format!("{adjective}{animal}{number}"),
                "password": self.filled("@@@@####").to_lowercase(),
                "salt": self.filled("@#@#@#@#"),
                "md5": self.hexadecimal(32),
                "sha1": self.hexadecimal(40),
                "sha256": self.hexadecimal(64),
            },
            "dob": {"date": born, "age": age},
            "registered": {"date": registered, "age": since},
            "phone": self.filled(nation.phone),
            "cell": self.filled(nation.phone),
            "id": id,
            "picture": {"large": picture(""), "medium": picture("med/"), "thumbnail": picture("thumb/")},
            "nat": nation.code,
        })
    }
}
