resource "openstack_networking_network_v2" "prod" {
  name = "prod-net"
}
resource "openstack_networking_subnet_v2" "prod" {
  name       = "prod-subnet"
  network_id = openstack_networking_network_v2.prod.id
  cidr       = "10.20.0.0/24"
}
