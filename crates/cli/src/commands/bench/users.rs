//! The users of a bench, about as varied as those of the API: what they pack into decides how many lie in one
//! answer of a broker, and with that what memory and speed are worth.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use uuid::Builder;

const FIRST_NAMES: [&str; 16] = [
    "Amber",
    "Mathéo",
    "Lærke",
    "Nuria",
    "Ümit",
    "Olga",
    "Jesús",
    "Aleksandra",
    "Wade",
    "Ye-jun",
    "Ida",
    "Čedomir",
    "Brennan",
    "Sofie",
    "Tilde",
    "Venla",
];
const LAST_NAMES: [&str; 16] = [
    "Wells",
    "Lefebvre",
    "Christensen",
    "Gómez",
    "Körmükçü",
    "Novak",
    "Vázquez",
    "Đorđević",
    "Snyder",
    "Jørgensen",
    "Fuller",
    "Rantala",
    "Barnes",
    "Mitchell",
    "Møller",
    "Hakala",
];
const STREETS: [&str; 12] = [
    "Green Rd",
    "Rue du Bon-Pasteur",
    "Lyngvej",
    "Calle de Alcalá",
    "Istiklal Cd",
    "Karen Dr",
    "Hämeenkatu",
    "Mill Road",
    "Bahnhofstraße",
    "Rosewood Ct",
    "Kongensgade",
    "Avenida Brasil",
];
const CITIES: [[&str; 3]; 12] = [
    ["Wollongong", "South Australia", "Australia"],
    ["Besançon", "Haute-Vienne", "France"],
    ["Aarhus N", "Midtjylland", "Denmark"],
    ["Las Palmas de Gran Canaria", "Navarra", "Spain"],
    ["Kırşehir", "Ankara", "Turkey"],
    ["Geraldton", "Western Australia", "Australia"],
    ["Hyvinkää", "Päijät-Häme", "Finland"],
    ["Bath", "Cambridgeshire", "United Kingdom"],
    ["Neubrandenburg", "Baden-Württemberg", "Germany"],
    ["Grand Prairie", "Oregon", "United States"],
    ["Nykøbing Falster", "Sjælland", "Denmark"],
    ["Guarapuava", "Rio Grande do Sul", "Brazil"],
];
const ADJECTIVES: [&str; 12] = [
    "crazy",
    "beautiful",
    "heavy",
    "organic",
    "purple",
    "tiny",
    "yellow",
    "lazy",
    "silver",
    "ticklish",
    "whitegoose",
    "sad",
];
const ANIMALS: [&str; 12] = [
    "dog", "ladybug", "panda", "bird", "swan", "tiger", "zebra", "mouse", "fish", "wolf", "elephant", "goose",
];

fn one_of<T: Copy>(dice: &mut StdRng, all: &[T]) -> T {
    all[dice.random_range(0..all.len())]
}

/// The parts of a user that the example's query reads; one number makes the same user each time.
struct User {
    id: String,
    gender: &'static str,
    name: [&'static str; 2],
    house: u64,
    street: &'static str,
    city: [&'static str; 3],
    post_code: u64,
    email: String,
    username: String,
    registered: String,
    phone: String,
    picture: String,
}

impl User {
    fn new(number: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(number);
        let id = Builder::from_random_bytes(dice.random()).into_uuid();
        let is_woman: bool = dice.random();
        let name = [one_of(&mut dice, &FIRST_NAMES), one_of(&mut dice, &LAST_NAMES)];
        let (street, city) = (one_of(&mut dice, &STREETS), one_of(&mut dice, &CITIES));
        let words = [one_of(&mut dice, &ADJECTIVES), one_of(&mut dice, &ANIMALS)];
        let mut below = |end: u64| dice.random_range(0..end);
        let [year, month, day] = [2002 + below(20), 1 + below(12), 1 + below(28)];
        let [hour, minute, millis] = [below(24), below(60), below(60_000)];
        Self {
            id: id.to_string(),
            gender: if is_woman { "female" } else { "male" },
            name,
            house: 1 + below(9_999),
            street,
            city,
            post_code: 10_000 + below(89_999),
            email: format!("{}.{}@example.com", name[0].to_lowercase(), name[1].to_lowercase()),
            username: format!("{}{}{}", words[0], words[1], below(1_000)),
            registered: format!(
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
                millis / 1_000,
                millis % 1_000
            ),
            phone: format!("({:03}) {:03}-{:04}", below(1_000), below(1_000), below(10_000)),
            picture: format!(
                "https://randomuser.me/api/portraits/med/{}/{}.jpg",
                if is_woman { "women" } else { "men" },
                below(100)
            ),
        }
    }
}

/// What the API says of a user, as far as the example's query reads it: some 490 bytes.
pub(super) fn of_the_api(number: u64) -> String {
    let user = User::new(number);
    let ([first, last], [city, state, country]) = (user.name, user.city);
    format!(
        r#"{{"gender":"{}","name":{{"title":"Ms","first":"{first}","last":"{last}"}},"location":{{"street":{{"number":{},"name":"{}"}},"city":"{city}","state":"{state}","country":"{country}","postcode":{}}},"email":"{}","login":{{"uuid":"{}","username":"{}"}},"registered":{{"date":"{}"}},"phone":"{}","picture":{{"medium":"{}"}}}}"#,
        user.gender,
        user.house,
        user.street,
        user.post_code,
        user.email,
        user.id,
        user.username,
        user.registered,
        user.phone,
        user.picture
    )
}

/// A message of the example's topic, some 390 bytes.
pub(super) fn message(number: u64) -> String {
    let user = User::new(number);
    let ([first, last], [city, state, country]) = (user.name, user.city);
    json!({
        "id": user.id, "first_name": first, "last_name": last, "gender": user.gender,
        "address": format!("{} {}, {city}, {state}, {country}", user.house, user.street),
        "post_code": user.post_code.to_string(), "email": user.email, "username": user.username,
        "registered_date": user.registered, "phone": user.phone, "picture": user.picture,
    })
    .to_string()
}
