# The stack of template.yaml, resource by resource, for Terraform:
#
#   export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
#   terraform init && terraform apply

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0" }
  }
}

provider "aws" {
  region = "eu-west-1"
}

variable "name" {
  description = "What everything is called."
  type        = string
  default     = "what-is-the-time"
}

variable "min_size" {
  description = "The fewest instances the group may have. One for each zone by default."
  type        = number
  default     = 3
}

variable "max_size" {
  description = "The most instances the group may have."
  type        = number
  default     = 9
}

variable "desired_capacity" {
  description = "How many instances there should be now."
  type        = number
  default     = 5
}

variable "instance_type" {
  description = "How big each instance is."
  type        = string
  default     = "t3.micro"
  validation {
    condition     = contains(["t3.nano", "t3.micro", "t3.small", "t3.medium"], var.instance_type)
    error_message = "The instance type must be one of t3.nano, t3.micro, t3.small, t3.medium."
  }
}

variable "vpc_cidr" {
  description = "The addresses of the network."
  type        = string
  default     = "10.0.0.0/16"
}

variable "app_port" {
  description = "The port on which the instances listen."
  type        = number
  default     = 8080
}

data "aws_availability_zones" "available" {
  state = "available"
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

# The network: a public subnet in each of three zones, with one way to the internet.

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  count                   = 3
  vpc_id                  = aws_vpc.this.id
  availability_zone       = data.aws_availability_zones.available.names[count.index]
  cidr_block              = cidrsubnet(var.vpc_cidr, 8, count.index)
  map_public_ip_on_launch = true
  tags                    = { Name = "${var.name}-${["a", "b", "c"][count.index]}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_route" "default" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  count          = 3
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

# Who may talk to whom: everyone to the load balancer, only the load balancer to the instances.

resource "aws_security_group" "load_balancer" {
  name_prefix = "${var.name}-alb-"
  description = "Web traffic from everywhere"
  vpc_id      = aws_vpc.this.id

  ingress {
    protocol    = "tcp"
    from_port   = 80
    to_port     = 80
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "app" {
  name_prefix = "${var.name}-app-"
  description = "Traffic from the load balancer alone"
  vpc_id      = aws_vpc.this.id

  ingress {
    protocol        = "tcp"
    from_port       = var.app_port
    to_port         = var.app_port
    security_groups = [aws_security_group.load_balancer.id]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

# The front: a load balancer with a node in each zone.

resource "aws_lb" "this" {
  name               = var.name
  load_balancer_type = "application"
  internal           = false
  subnets            = aws_subnet.public[*].id
  security_groups    = [aws_security_group.load_balancer.id]
  depends_on         = [aws_internet_gateway.this]
}

resource "aws_lb_target_group" "this" {
  name                 = var.name
  vpc_id               = aws_vpc.this.id
  target_type          = "instance"
  protocol             = "HTTP"
  port                 = var.app_port
  deregistration_delay = 10

  health_check {
    path                = "/health"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

# The instances: alike, spread over the zones, replaced when the load balancer finds one unhealthy.

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = data.aws_ssm_parameter.image.insecure_value
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.app.id]

  user_data = base64encode(<<-EOT
    #!/bin/sh
    # Runs once, at the first boot. What is in rc.local is started at every later one.
    printf '#!/bin/sh\nPORT=${var.app_port} exec what-is-the-time\n' > rc.local
    chmod +x rc.local
    ./rc.local &
  EOT
  )

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name }
  }
}

resource "aws_autoscaling_group" "this" {
  name_prefix               = "${var.name}-"
  min_size                  = var.min_size
  max_size                  = var.max_size
  desired_capacity          = var.desired_capacity
  vpc_zone_identifier       = aws_subnet.public[*].id
  target_group_arns         = [aws_lb_target_group.this.arn]
  health_check_type         = "ELB"
  health_check_grace_period = 30
  wait_for_capacity_timeout = "3m"

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }

  # Without the listener the load balancer asks nobody whether the instances are healthy.
  depends_on = [aws_lb_listener.http, aws_route.default]
}

output "url" {
  description = "The web site."
  value       = "http://${aws_lb.this.dns_name}"
}

output "group_name" {
  description = "The Auto Scaling group, for aws autoscaling."
  value       = aws_autoscaling_group.this.name
}
